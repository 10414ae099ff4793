"""`edgecl store` on what is a store, and on what is none."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest


@pytest.fixture(scope="module")
def stored_once(edgecl_in, stream, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored")
    options = ["--stream", stream, "--model", "mlp", "--batch", 16, "--memory", 24, "--epochs", 1, "--method", "er"]
    assert edgecl_in(folder, "run", *options, "--store", "s").returncode == 0
    assert edgecl_in(folder, "store", "export", "s", "e").returncode == 0
    return folder, json.loads(edgecl_in(folder, "store", "stats", "s", "--json").stdout)["samples"]


@pytest.fixture
def stored(stored_once, tmp_path):
    """A store 's' of a run, and its export 'e'."""
    shutil.copytree(stored_once[0], tmp_path, dirs_exist_ok=True)
    return stored_once[1]


@pytest.mark.parametrize("words", [["stats"], ["verify"], ["compact"], ["forget", "--subject", 1]])
def test_a_folder_that_is_no_store_stays_as_it_is(edgecl, tmp_path, words):
    (tmp_path / "papers").mkdir()
    done = edgecl("store", words[0], "papers", *words[1:])
    assert done.returncode == 2 and "There is no store in 'papers'" in done.stderr
    assert list((tmp_path / "papers").iterdir()) == []


def test_an_import_may_make_an_encrypted_store_and_its_key(edgecl, stored, tmp_path):
    assert edgecl("store", "import", "new", "e", "--root-key-file", "key").returncode == 0
    assert edgecl("store", "verify", "new").returncode == 2
    read = edgecl("store", "stats", "new", "--root-key-file", "key", "--json")
    assert json.loads(read.stdout)["samples"] == stored


@pytest.mark.parametrize("to", ["file", "file/below", "/proc/below"])
def test_an_export_that_cannot_be_written_is_refused(edgecl, stored, tmp_path, to):
    (tmp_path / "file").write_text("")
    done = edgecl("store", "export", "s", to)
    assert done.returncode == 2 and to in done.stderr and len(done.stderr.splitlines()) == 2


def test_a_run_whose_store_forgot_a_subject_is_not_resumed(edgecl, tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 255, (80, 1, 12, 12)).astype(np.uint8), np.arange(80) % 4
    np.savez(tmp_path / "people.npz", x=x, y=y, subject=np.arange(80) % 3)
    options = ["--stream", "people.npz", "--model", "mlp", "--batch", 8, "--memory", 24, "--method", "er"]
    edgecl("run", *options, "--store", "s", "--out", "o", "--flops", "3e7")
    assert edgecl("store", "forget", "s", "--subject", 2).returncode == 0
    done = edgecl("run", "--resume", "o", "--flops", "1e12")
    assert done.returncode == 2 and "Subject 2 was forgotten" in done.stderr


def test_of_several_records_the_damaged_one_is_named(edgecl, tmp_path):
    (tmp_path / "a.json").write_text('{"schema": "edgecl.run/9"}')
    done = edgecl("compare", "a.json")
    assert done.returncode == 2 and "'a.json'" in done.stderr
