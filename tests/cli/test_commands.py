"""The command line as a user meets it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import jsonschema
import pytest

from edgecl.__main__ import main
from edgecl.report.record import read_record, record_schema


@pytest.fixture
def small(stream) -> list:
    return ["--stream", stream, "--model", "mlp", "--batch", 16, "--memory", 24, "--epochs", 3]


def test_a_run_ends_with_a_table_a_record_and_exit_0(edgecl, small, tmp_path):
    done = edgecl("run", *small, "--method", "er", "--store", "s", "--out", "o")
    assert done.returncode == 0, done.stderr
    assert "average accuracy" in done.stdout and "after 0/1" in done.stdout
    assert "task 2/2" in done.stderr and "of dense" in done.stderr
    record = read_record(tmp_path / "o" / "run.json")
    assert record["command"].startswith("edgecl run --stream")
    again = edgecl("run", "--config", "o/run.json", "--out", "o2", "--json")
    assert json.loads(again.stdout)["accuracy_matrix"] == record["accuracy_matrix"]
    assert edgecl("store", "verify", "s").returncode == 0
    both = edgecl("compare", "o/run.json", "o2/run.json")
    assert both.returncode == 0 and "average accuracy" in both.stdout


def test_json_prints_the_record_and_nothing_else(edgecl, small):
    done = edgecl("run", *small, "--json")
    jsonschema.validate(json.loads(done.stdout), record_schema())
    assert done.stderr == ""


def test_the_reported_peak_is_that_of_the_process(edgecl, small):
    record = json.loads(edgecl("run", *small, "--json").stdout)
    memory = record["memory"]
    assert memory["baseline_bytes"] < memory["measured_peak_rss_bytes"] < memory["baseline_bytes"] + 60e6


def test_a_budget_ends_a_run_with_exit_0_and_the_reason(edgecl, small):
    done = edgecl("run", *small, "--flops", "1M")
    assert done.returncode == 0 and "budget reached: FLOPs" in done.stdout


def test_plan_shows_use_and_trains_nothing(edgecl, small, tmp_path):
    done = edgecl("plan", *small, "--device", "rpi_4b", "--out", "o", "--json")
    plan = json.loads(done.stdout)
    assert plan["planned_peak_rss_bytes"] > plan["baseline_bytes"] and "modelled" in plan["step_seconds"]["source"]
    assert not (tmp_path / "o").exists()
    assert "planned peak" in edgecl("plan", *small).stdout


def test_the_plan_counts_the_process_that_a_run_would_be(edgecl, small):
    plan = json.loads(edgecl("plan", *small, "--json").stdout)
    record = json.loads(edgecl("run", *small, "--json").stdout)
    assert abs(plan["baseline_bytes"] - record["memory"]["baseline_bytes"]) < 1e6
    assert plan["growth_bytes"] == record["plan"]["growth_bytes"]


def on_a_terminal(environment, tmp_path, columns: int, *arguments: object) -> str:
    """What `edgecl` shows on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [sys.executable, "-m", "edgecl", *map(str, arguments)]
    child = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = bytearray()
    with contextlib.suppress(OSError):  # the terminal closes with its last user
        while piece := os.read(ours, 65536):
            shown += piece
    os.close(ours)
    assert child.wait(60) == 0, shown.decode()
    return shown.decode()


@pytest.mark.parametrize("columns", [50, 120])
def test_on_a_terminal_a_run_shows_one_live_line(environment, small, tmp_path, columns):
    shown = on_a_terminal(environment, tmp_path, columns, "run", *small, "--epochs", 40, "--ram", "500MB")
    live = [line for line in shown.split("\r\x1b[2K") if line.startswith("[")]
    assert live and all(len(line) < columns and "\n" not in line for line in live)
    assert re.match(r"\[#*-*\] +\d+%  task \d/2  epoch \d+/40", live[-1])
    if columns == 120:
        assert re.search(r"accuracy \d\.\d+  RAM \d+ of 500 MB  FLOPs 100\.0% of dense", live[-1])
    assert "average accuracy" in shown.split("\r\x1b[2K")[-1]  # the line is gone, the table stands


def test_on_a_terminal_long_cells_wrap(environment, edgecl, tmp_path):
    plain = edgecl("devices", "show", "rpi_4b").stdout
    shown = on_a_terminal(environment, tmp_path, 90, "devices", "show", "rpi_4b")
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    assert "vendor" in shown and max(map(len, lines)) <= 90 < max(map(len, plain.splitlines()))


def interrupted(environment, tmp_path, arguments) -> subprocess.Popen:
    command = [sys.executable, "-m", "edgecl", "run", *map(str, arguments)]
    child = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while "epoch 2" not in child.stderr.readline():
        assert child.poll() is None
    os.kill(child.pid, signal.SIGINT)
    return child


def test_ctrl_c_exits_130_with_a_valid_record_and_store_and_can_be_resumed(environment, edgecl, small, tmp_path):
    arguments = [*small, "--epochs", 20000, "--store", "s", "--out", "o"]
    child = interrupted(environment, tmp_path, arguments)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130 and "Traceback" not in err
    record = read_record(tmp_path / "o" / "run.json")
    jsonschema.validate(record, record_schema())
    assert record["status"] == {"finished": False, "reason": "interrupted", "resumed_from": None}
    assert edgecl("store", "verify", "s").returncode == 0
    resumed = edgecl("run", "--resume", "o", "--seconds", 0.2, "--json")
    assert resumed.returncode == 0
    assert json.loads(resumed.stdout)["status"]["resumed_from"] == record["steps"]
    shutil.move(tmp_path / "s", tmp_path / "moved")
    lost = edgecl("run", "--resume", "o", "--seconds", 0.2)
    assert lost.returncode == 2 and "--store DIR" in lost.stderr and not (tmp_path / "s").exists()
    other = edgecl("run", *small, "--store", "other", "--seconds", 0.2)
    assert other.returncode == 0
    wrong = edgecl("run", "--resume", "o", "--store", "other", "--seconds", 0.2)
    assert wrong.returncode == 2 and "not the store" in wrong.stderr
    found = edgecl("run", "--resume", "o", "--store", "moved", "--seconds", 0.2, "--json")
    assert found.returncode == 0 and json.loads(found.stdout)["status"]["resumed_from"] > record["steps"]
    assert json.loads((tmp_path / "o" / "config.json").read_text())["store"] == str(tmp_path / "moved")


def test_it_says_its_version(edgecl):
    from edgecl import __version__

    done = edgecl("--version")
    assert (done.returncode, done.stdout) == (0, f"edgecl {__version__}\n")


WRITES_WITHOUT_END = """
import sys
from edgecl.commands.train import stop_on_interrupt
with stop_on_interrupt() as stop:
    while not stop.is_set():
        print("x" * 1000, file=sys.stderr, flush=True)
"""


def test_ctrl_c_in_the_midst_of_a_line_of_progress_still_stops_in_order(environment):
    command = [sys.executable, "-P", "-c", WRITES_WITHOUT_END]
    buffered = {k: v for k, v in environment.items() if k != "PYTHONUNBUFFERED"}
    child = subprocess.Popen(command, env=buffered, stderr=subprocess.PIPE, text=True)
    child.stderr.read(1)
    time.sleep(0.2)  # the pipe is full by now: the child waits within its print
    os.kill(child.pid, signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 0 and "stopping after this step" in err and "Traceback" not in err


MISTAKES = [
    (["run", "--sparsity", "1.0"], "sparsity"),
    (["run", "--sparsity", "-0.1"], "sparsity"),
    (["run", "--sparsity", "nan"], "sparsity"),
    (["run", "--batch", "0"], "batch"),
    (["run", "--ram", "1KB"], "interpreter"),
    (["plan", "--ram", "1KB"], "nearest"),
    (["run", "--method", "derpp"], "der\\+\\+"),
    (["run", "--stream", "nothing-like-it"], "split-"),
    (["run", "--stream", "missing.npz"], "missing.npz"),
    (["run", "--device", "rpi_4"], "rpi_4b"),
    (["run", "--energy", "5"], "--device"),
    (["plan", "--energy", "5"], "--device"),
    (["plan", "--store", "s", "--flash", "1KB"], "budget is 0.001 MB.\n.*Give a larger"),
    (["plan", "--store", "s", "--flash-writes-per-day", "1KB"], "take 0.001 MB a day"),
    (["run", "--flash-writes-per-day", "1GB"], "flash-writes-per-day"),
    (["run", "--sparsitty", "0.9"], "sparsity"),
    (["run", "--config", "none.json"], "none.json"),
    (["run", "--resume", "nowhere"], "nowhere"),
    (["compare", "none.json"], "none.json"),
    (["store", "verify", "nowhere"], "nowhere"),
    (["devices", "show", "rpi"], "rpi"),
    (["frobnicate"], "frobnicate"),
]


@pytest.mark.parametrize(("arguments", "word"), MISTAKES, ids=[" ".join(a) for a, _ in MISTAKES])
def test_a_mistake_is_one_line_of_cause_and_one_of_remedy_and_exit_2(
    environment, monkeypatch, capsys, stream, arguments, word
):
    monkeypatch.setenv("EDGECL_CACHE", environment["EDGECL_CACHE"])
    if arguments[0] in ("run", "plan") and "--stream" not in arguments:
        arguments = [*arguments, "--stream", stream, "--model", "mlp"]
    status = main(arguments)
    err = capsys.readouterr().err
    lines = err.strip().splitlines()
    assert status == 2 and len(lines) == 2, err
    assert lines[0].startswith("error: ") and lines[1].startswith("  try: ")
    assert re.search(word, err)


def test_a_mistake_ends_the_command_itself_with_2(edgecl):
    done = edgecl("run", "--sparsity", "1.0")
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 2


def test_a_store_that_cannot_be_used_is_refused(edgecl, small, stream, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    done = edgecl("run", *small, "--method", "er", "--store", "file")
    assert done.returncode == 2 and "file" in done.stderr and "Traceback" not in done.stderr
    assert edgecl("run", *small, "--method", "er", "--store", "s").returncode == 0
    other = [*small, "--method", "der++", "--store", "s"]
    done = edgecl("run", *other)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 2, done.stderr


def test_a_locked_store_names_its_owner(environment, edgecl, small, tmp_path):
    arguments = [*small, "--epochs", 20000, "--method", "er", "--store", "s"]
    command = [sys.executable, "-m", "edgecl", "run", *map(str, arguments)]
    owner = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        while "task" not in owner.stderr.readline():
            time.sleep(0.01)
        done = edgecl("run", *arguments)
        assert done.returncode == 2 and str(owner.pid) in done.stderr
    finally:
        owner.kill()
        owner.wait()


def test_help_teaches(edgecl):
    assert "edgecl run --" in edgecl("--help").stdout
    text = edgecl("run", "--help").stdout
    for option in (
        "--sparsity",
        "--gradient-keep",
        "--store-limit",
        "--ram",
        "--resume",
        "--config",
        "--json",
    ):
        assert option in text


def test_lists(edgecl):
    assert "rpi_4b" in edgecl("devices").stdout
    assert "measured" in edgecl("devices", "show", "rpi_4b").stdout
    assert "split-mnist5k" in edgecl("data", "list").stdout
    assert json.loads(edgecl("data", "list", "--json").stdout)


def test_from_the_source_tree_it_says_why_it_cannot_start():
    root = Path(__file__).parents[2]
    code = f"import sys; sys.path.insert(0, {str(root)!r}); import edgecl"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, cwd="/", check=False
    )
    assert "source tree" in done.stderr and "pip install -e" in done.stderr


def test_without_the_cli_packages_it_says_what_to_install(environment, tmp_path):
    code = "import sys; sys.modules['typer'] = None; import edgecl.__main__ as m; sys.exit(m.main([]))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 2 and "edgecl[cli]" in done.stderr
