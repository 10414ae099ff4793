"""What stands in an --out folder is kept, and taken up only where it fits."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest


@pytest.fixture(scope="module")
def small(stream) -> list:
    return ["--stream", stream, "--model", "mlp", "--batch", 16, "--memory", 24, "--method", "er"]


@pytest.fixture(scope="module")
def begun_once(edgecl_in, small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("begun")
    assert edgecl_in(folder, "run", *small, "--epochs", 9, "--flops", "5M", "--out", "o").returncode == 0
    return folder / "o"


@pytest.fixture
def begun(begun_once, tmp_path):
    """A run that stopped at a budget, in the folder 'o'."""
    return shutil.copytree(begun_once, tmp_path / "o")


def refused(done, *words: str) -> None:
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2 and len(lines) == 2, done.stderr
    assert lines[0].startswith("error: ") and lines[1].startswith("  try: ")
    assert all(word in done.stderr for word in words), done.stderr


def contents(folder) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_a_run_that_is_refused_leaves_the_one_before_it_as_it_was(edgecl, small, begun, tmp_path):
    (tmp_path / "file").write_text("no store")
    before = contents(begun)
    refused(edgecl("run", *small, "--model", "cnn", "--store", "file", "--out", "o"), "file")
    assert contents(begun) == before


def test_a_new_run_leaves_no_state_of_the_one_before(edgecl, small, begun, tmp_path):
    assert edgecl("run", *small, "--epochs", 1, "--seed", 5, "--out", "o").returncode == 0
    for newest in begun.glob("checkpoint-*"):
        other = next(p for p in begun.glob("checkpoint-*") if p != newest)
        kept = other.read_bytes()
        other.unlink()
        done = edgecl("run", "--resume", "o", "--json")
        assert done.returncode == 0 and json.loads(done.stdout)["config"]["seed"] == 5, done.stderr
        other.write_bytes(kept)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", ["no run"]),
        ('{"store": 5}', ["config.json", "store"]),
        ('{"nonsense": 5}', ["config.json", "nonsense"]),
    ],
)
def test_a_configuration_changed_by_hand_is_refused(edgecl, begun, text, words):
    (begun / "config.json").write_text(text)
    refused(edgecl("run", "--resume", "o"), *words)


def test_a_state_goes_on_only_with_the_options_it_was_made_with(edgecl, begun):
    config = json.loads((begun / "config.json").read_text())
    (begun / "config.json").write_text(json.dumps({**config, "memory": 48, "lr": 0.5}))
    refused(edgecl("run", "--resume", "o"), "lr, memory")


def test_a_state_goes_on_only_with_the_data_it_was_made_with(edgecl, small, stream, tmp_path):
    with np.load(stream) as given:
        x, y = given["x"], given["y"]
    np.savez(tmp_path / "mine.npz", x=x, y=y)
    options = [*small[2:], "--stream", "mine.npz", "--epochs", 9, "--flops", "5M", "--out", "o"]
    assert edgecl("run", *options).returncode == 0
    np.savez(tmp_path / "mine.npz", x=255 - x, y=y)
    refused(edgecl("run", "--resume", "o"), "mine.npz' has changed")


def test_damaged_states_are_refused_and_not_begun_anew(edgecl, begun):
    for file in begun.glob("checkpoint-*"):
        block = bytearray(file.read_bytes())
        block[-9] ^= 1
        file.write_bytes(block)
    before = contents(begun)
    refused(edgecl("run", "--resume", "o"), "not a good saved state", "checksum")
    assert contents(begun) == before


def test_resume_goes_on_in_its_own_folder_only(edgecl, begun, tmp_path):
    refused(edgecl("run", "--resume", "o", "--out", "other"), "--out cannot change")
    assert edgecl("run", "--resume", "o", "--out", "./o").returncode == 0


def test_two_runs_do_not_write_into_one_folder(environment, edgecl, small, tmp_path):
    command = [sys.executable, "-m", "edgecl", "run", *map(str, small), "--epochs", "20000", "--out", "o"]
    first = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        assert "task" in first.stderr.readline()
        refused(edgecl("run", *small, "--out", "o"), "Another run")
        refused(edgecl("run", "--resume", "o"), "Another run")
    finally:
        first.kill()
        first.wait()
    assert edgecl("run", "--resume", "o", "--seconds", "0.1").returncode == 0


def test_a_run_that_is_refused_leaves_nothing_to_resume(edgecl, small, tmp_path):
    (tmp_path / "file").write_text("no store")
    refused(edgecl("run", *small, "--store", "file", "--out", "o"), "file")
    refused(edgecl("run", "--resume", "o"), "holds no run")


@pytest.mark.parametrize("key", ["new", "no_key", "empty"])
def test_a_key_that_does_not_fit_makes_nothing(edgecl, small, tmp_path, key):
    (tmp_path / "no_key").write_text("this is no key")
    (tmp_path / "empty").write_text("")
    assert edgecl("run", *small, "--epochs", 1, "--store", "plain").returncode == 0
    store = "plain" if key == "new" else "s"
    before = sorted(tmp_path.iterdir())
    refused(edgecl("run", *small, "--store", store, "--root-key-file", key), key)
    assert sorted(tmp_path.iterdir()) == before
