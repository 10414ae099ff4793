"""`edgecl store` on what is a store, and on what is none."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def stored(edgecl, stream, tmp_path):
    """A store 's' of a run, and its export 'e'."""
    options = ["--stream", stream, "--model", "mlp", "--batch", 16, "--memory", 24, "--epochs", 1, "--method", "er"]
    assert edgecl("run", *options, "--store", "s").returncode == 0
    assert edgecl("store", "export", "s", "e").returncode == 0
    return json.loads(edgecl("store", "stats", "s", "--json").stdout)["samples"]


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


def test_of_several_records_the_damaged_one_is_named(edgecl, tmp_path):
    (tmp_path / "a.json").write_text('{"schema": "edgecl.run/9"}')
    done = edgecl("compare", "a.json")
    assert done.returncode == 2 and "'a.json'" in done.stderr
