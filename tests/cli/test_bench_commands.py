"""`edgecl bench`: modelled comparisons, measured rows, refusals; quick ones only."""

import json

import pytest

from edgecl.cli import run_command_line


def test_devices_are_compared_in_one_view_and_written(capsys, tmp_path):
    out = tmp_path / "a" / "b.json"
    arguments = ["bench", "latency", "--device", "rpi_zero_2w,rpi_5", "--net", "mlp", "--json", str(out)]
    assert run_command_line(arguments) == 0
    text = capsys.readouterr().out
    assert "modelled(rpi_5)" in text and "modelled(rpi_zero_2w)" in text
    record = json.loads(out.read_text())
    assert record["schema"] == "edgecl.bench/1" and record["conditions"] is None and record["baseline"]


def test_a_small_latency_bench_prints_its_baseline_and_conditions(capsys, tmp_path):
    out = tmp_path / "x.json"
    arguments = ["bench", "latency", "--net", "mlp", "--batch", "4", "--density", "0.1", "--n", "2", "--json", str(out)]
    assert run_command_line(arguments) == 0
    assert "baseline: edgecl, density 1" in capsys.readouterr().out
    record = json.loads(out.read_text())
    assert len(record["conditions"]["pinned_to"]) == 1 and {r["n"] for r in record["rows"]} == {2}


@pytest.mark.parametrize(
    "arguments, word",
    [
        (["bench", "latency", "--density", "a"], "densities"),
        (["bench", "latency", "--net", "nonet"], "nonet"),
        (["bench", "latency", "--n", "0"], "--n"),
        (["bench", "latency", "--batch", "0"], "batch of 0"),
        (["bench", "latency", "--plot", "picture.foo"], "picture.foo"),
        (["bench", "latency", "--json", "/proc/x.json"], "/proc/x.json"),
        (["bench", "training", "--task", "image", "--out", "/proc/x.json"], "/proc/x.json"),
        (["devices", "calibrate", "--out", "/proc/x.toml"], "/proc/x.toml"),
        (["doctor", "--disk", "/nowhere"], "/nowhere"),
        (["bench", "latency", "--device", "rpi_9"], "rpi_9"),
        (["bench", "flash", "--disk", "/nowhere"], "/nowhere"),
        (["bench", "training"], "--task"),
        (["bench", "training", "--task", "video"], "video"),
        (["bench", "training", "--task", "keyword", "--set", "lr"], "lr"),
        (["bench", "training", "--check", "/nowhere.json"], "/nowhere.json"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_cause_and_a_remedy(capsys, arguments, word):
    assert run_command_line(arguments) == 2
    error = capsys.readouterr().err
    assert word in error and "try:" in error
