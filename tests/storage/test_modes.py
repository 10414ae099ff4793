"""What a store writes is its owner's alone, under names of its own, whatever lies there and whatever the umask."""

import os
import stat

import numpy as np
import pytest
from edgecl.storage import KeyFile, SampleStore, export_store
from edgecl.storage.errors import StoreError
from edgecl.storage.whole import overwrite, sweep, write_whole
from store_samples import SCHEMA, logits_of, sample_of


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.lstat().st_mode)


def test_a_store_and_its_keys_are_its_owners_alone(tmp_path, umask):
    pytest.importorskip("cryptography")
    key = KeyFile(tmp_path / "key")
    with SampleStore(tmp_path / "s", SCHEMA, root_key=key) as store:
        ids = np.arange(3000)
        store.append(sample_of(ids), ids % 3, ids % 5, fields={"logits": logits_of(ids)})
        store.meta_set({"a": b"b"})
        store.relabel([1, 2], 4)
        store.forget(3)
        store.compact()
        export_store(store, tmp_path / "export")
    assert mode(tmp_path / "key") == 0o600
    for path in [tmp_path / "s", *(tmp_path / "s").rglob("*")]:
        assert mode(path) == (0o700 if path.is_dir() else 0o600), path
    for path in (tmp_path / "export").iterdir():
        assert mode(path) == 0o666 & ~umask, path


def test_nothing_is_written_through_a_link_or_a_file_that_lies_there(tmp_path):
    (tmp_path / "a.tmp").touch()
    (tmp_path / "a.tmp").chmod(0o666)
    KeyFile(tmp_path / "a")
    assert mode(tmp_path / "a") == 0o600
    (tmp_path / "b.tmp").symlink_to(tmp_path / "elsewhere")
    KeyFile(tmp_path / "b")
    assert not (tmp_path / "elsewhere").exists()
    (tmp_path / "c").symlink_to(tmp_path / "elsewhere")
    write_whole(tmp_path / "c", b"x")  # the link is replaced, not followed
    assert not (tmp_path / "c").is_symlink() and not (tmp_path / "elsewhere").exists()
    with SampleStore(tmp_path / "s", SCHEMA) as store:
        store.append(sample_of([0]), 0)
    (tmp_path / "s" / "LOCK").unlink()
    (tmp_path / "s" / "LOCK").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError):
        SampleStore(tmp_path / "s")
    assert not (tmp_path / "elsewhere").exists()


def test_what_a_process_that_died_left_is_overwritten_by_the_next(tmp_path):
    with SampleStore(tmp_path / "s", SCHEMA):
        pass
    left = tmp_path / "s" / "values.json.0123.tmp"
    left.write_bytes(b"a label that only this subject used")
    os.link(left, tmp_path / "seen")  # shows what became of the bytes
    with SampleStore(tmp_path / "s"):
        assert not left.exists()
    assert not (tmp_path / "seen").read_bytes().strip(b"\0")


def test_sweeping_touches_only_what_is_half_written(tmp_path):
    for name in ("a.json", "a.json.1.tmp", "b.txt.2.tmp", "c.tmp.keep"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "a.json.link.tmp").symlink_to(tmp_path / "a.json")
    assert [p.name for p in sweep(tmp_path, "a.json*")] == ["a.json.1.tmp", "a.json.link.tmp"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "b.txt.2.tmp", "c.tmp.keep"]
    assert (tmp_path / "a.json").read_bytes() == b"x"
    overwrite(tmp_path / "a.json")
    assert not (tmp_path / "a.json").exists()


def test_a_store_lives_where_there_are_no_hard_links(tmp_path, monkeypatch):
    def none(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", none)
    with SampleStore(tmp_path / "s", SCHEMA) as store:
        ids = np.arange(100)
        store.append(sample_of(ids), ids % 3, ids % 5)
        assert store.forget(2).holds == "overwritten"
    with SampleStore(tmp_path / "s") as store:
        assert store.count == 80


def test_a_place_that_cannot_hold_a_store_is_refused_before_anything_changes(tmp_path, monkeypatch):
    from edgecl.storage import probe

    def no(*_, **__):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(probe.os, "replace", no)
    with pytest.raises(StoreError, match="replace a file by renaming") as caught:
        SampleStore(tmp_path / "s", SCHEMA)
    assert caught.value.remedy and not (tmp_path / "s" / "store.json").exists()
    monkeypatch.undo()
    with SampleStore(tmp_path / "s", SCHEMA) as store:
        assert store.count == 0
