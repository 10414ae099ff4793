"""`edgecl demo`: its short form shows everything but accuracy, and a claim that does not hold is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from edgecl.__main__ import main
from edgecl.commands import demo


@pytest.fixture(scope="module")
def slice_of_demo(tmp_path_factory):
    """(the finished process, its folder). The data comes from the user's cache: it is fetched once."""
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-P", "-m", "edgecl", "demo", "--slice", "--out", "d"]
    environment = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)
    return done, folder / "d"


def records(folder):
    return [json.loads((folder / name / "run.json").read_text()) for name in ("naive", "sparcl")]


def test_the_slice_shows_what_the_demo_claims(slice_of_demo):
    done, _ = slice_of_demo
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILS" not in done.stdout and done.stdout.count("holds  ") >= 7
    assert "edgecl run --stream split-mnist5k" in done.stdout and "average accuracy" in done.stdout


@pytest.mark.parametrize("name", ["thesis.txt", "naive/thesis.txt", "store/thesis.txt"])
def test_only_an_earlier_demo_is_emptied(tmp_path, capsys, name):
    mine = tmp_path / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("years of work")
    assert main(["demo", "--slice", "--out", str(tmp_path)]) == 2
    assert "not of an earlier demo" in capsys.readouterr().err and mine.read_text() == "years of work"


def test_the_slice_keeps_the_memory_plan_of_the_whole_demo(slice_of_demo):
    _, sparcl = records(slice_of_demo[1])
    plan = sparcl["plan"]
    assert (plan["batch"], plan["memory_slots"], plan["choices"]) == (32, 500, [])
    assert len(sparcl["stream"]["labels"]) == 10 and len(sparcl["accuracy_matrix"]) == 2
    assert sparcl["memory"]["budget_bytes"] == 96_000_000


def test_a_claim_that_does_not_hold_is_found(slice_of_demo):
    naive, sparcl = records(slice_of_demo[1])
    assert all(held for _, held in demo.behaviour(naive, sparcl))
    sparcl["memory"]["measured_peak_rss_bytes"] = 97_000_000
    sparcl["carousel"]["samples_stored"] -= 1
    failed = [text for text, held in demo.behaviour(naive, sparcl) if not held]
    assert len(failed) == 2 and "97.0 MB within 96 MB" in failed[0]
    naive["metrics"]["average_accuracy"], sparcl["metrics"]["average_accuracy"] = 0.3, 0.9
    assert [held for _, held in demo.accuracy(naive, sparcl)] == [False, True]
