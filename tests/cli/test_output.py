"""Where a command's output goes: into a pipe that closes, onto a full disk, nowhere."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest


@pytest.fixture
def small(stream) -> str:
    return f"--stream {stream} --model mlp --batch 16 --memory 24 --epochs 3"


@pytest.fixture
def shell(environment, tmp_path):
    """shell(words) runs `edgecl words`, redirections included; status of edgecl itself."""

    def call(words: str) -> subprocess.CompletedProcess:
        script = f"{sys.executable} -P -m edgecl {words}; exit ${{PIPESTATUS[0]}}"
        return subprocess.run(
            ["bash", "-c", script], capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
        )

    return call


@pytest.mark.parametrize("words", ["devices list --json", "run {small} --json", "plan {small}"])
def test_a_reader_that_leaves_early_is_no_error(shell, small, words):
    done = shell(words.format(small=small) + " | head -c 9")
    assert done.returncode == 0 and "rror" not in done.stderr


def test_a_run_goes_on_when_nobody_looks_at_its_progress(shell, small, tmp_path):
    done = shell(f"run {small} --out o 2>&1 | head -n 1")
    assert done.returncode == 0 and done.stdout.startswith("data: 240 pictures")
    assert json.loads((tmp_path / "o" / "run.json").read_text())["status"]["finished"]


@pytest.mark.parametrize("words", ["devices list --json", "run {small} --json", "plan {small} --json"])
def test_output_onto_a_full_disk_is_an_error_of_two_lines(shell, small, words):
    done = shell(words.format(small=small) + " > /dev/full")
    assert done.returncode == 2
    assert done.stderr == "error: No space left on device.\n  try: Free some space.\n"


@pytest.mark.parametrize("words", ["data list", "run {small} --out o", "plan {small}"])
def test_closed_streams_are_as_if_they_were_the_null_device(shell, small, words):
    done = shell(words.format(small=small) + " <&- >&- 2>&-")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_the_system_refuses_names_the_path(shell, tmp_path):
    (tmp_path / "file").write_text("")
    done = shell("devices table --devices rpi_4b --out file/folder")
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "error: 'file/folder' cannot be used: Not a directory."


def test_names_that_the_terminal_cannot_show_are_shown_in_ascii(environment, shell, small, tmp_path):
    environment = {**environment, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-P", "-m", "edgecl", "run", *small.split(), "--out", "g\u00e4ste"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 0 and "g\\xe4ste" in done.stdout, done.stderr


@pytest.mark.parametrize("option", ["--out", "--store"])
def test_a_name_that_is_no_text_is_refused_before_anything_is_made(shell, small, tmp_path, option):
    done = shell(f"run {small} {option} $'n\\xff'")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 2 and "not UTF-8" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_table_of_devices_that_is_written_is_json_all_the_same(shell, tmp_path):
    done = shell("devices table --devices rpi_4b --out t --json")
    assert json.loads(done.stdout) == json.loads((tmp_path / "t" / "devices.json").read_text())["rows"]


INTERRUPTED = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nraise SystemExit('went on')\n"


@pytest.mark.parametrize("module", ["typer", "ours"])
def test_ctrl_c_among_the_imports_ends_without_a_traceback(environment, tmp_path, module):
    (tmp_path / f"{module}.py").write_text(INTERRUPTED)
    places = {**environment, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-P", "-m", "edgecl", "data", "list"]
    if module == "ours":
        code = "import subprocess, sys; from edgecl.child import python_command; "
        command = [sys.executable, "-P", "-c", code + "sys.exit(subprocess.run(python_command('ours')).returncode)"]
    done = subprocess.run(command, capture_output=True, text=True, env=places, cwd=tmp_path, check=False)
    assert done.returncode in (-signal.SIGINT, 256 - signal.SIGINT) and done.stderr == ""
