"""A subject's texts open with its key alone; a dropped key opens nothing, whatever copies of the files exist."""

import json
import os
import shutil

import pytest

pytest.importorskip("cryptography")
from edgecl.storage.errors import BadRecord, StoreDamaged, WrongKey
from edgecl.storage.keys import SEAL_BYTES, KeyFile, SubjectKeys

STORE = bytes(range(16))


@pytest.fixture
def place(tmp_path):
    (tmp_path / "store").mkdir()
    return tmp_path


def keys_of(place, root="root.key"):
    return SubjectKeys(place / "store", STORE, KeyFile(place / root))


def test_what_was_sealed_opens_after_a_restart(place):
    keys = keys_of(place)
    keys.need([3, -1])
    sealed = keys.seal(3, b"a face", b"id 7")
    assert len(sealed) == 6 + SEAL_BYTES and b"a face" not in sealed
    again = keys_of(place)
    assert again.subjects == [-1, 3]
    assert again.open(3, sealed, b"id 7") == b"a face"


def test_a_text_opens_in_its_own_place_only(place):
    keys = keys_of(place)
    keys.need([3, 4])
    sealed = keys.seal(3, b"a face", b"id 7")
    assert keys.open(3, sealed, b"id 8") is None
    assert keys.open(4, sealed, b"id 7") is None
    assert keys.open(5, sealed, b"id 7") is None
    for at in range(len(sealed)):
        bad = bytearray(sealed)
        bad[at] ^= 1
        assert keys.open(3, bytes(bad), b"id 7") is None


def test_a_dropped_key_is_gone_even_for_older_copies_of_the_key_file(place):
    keys = keys_of(place)
    keys.need([3, 4])
    sealed, other = keys.seal(3, b"a face", b""), keys.seal(4, b"another", b"")
    shutil.copy(place / "store" / "keys.json", place / "older.json")
    assert keys.drop(3) and not keys.drop(3)
    assert keys.open(3, sealed, b"") is None and keys.open(4, other, b"") == b"another"
    assert keys_of(place).open(4, other, b"") == b"another"
    shutil.copy(place / "older.json", place / "store" / "keys.json")
    with pytest.raises(WrongKey):
        keys_of(place)


@pytest.mark.parametrize("written", [False, True])
def test_a_rotation_cut_short_is_ended_by_the_next_opening(place, written):
    keys = keys_of(place)
    keys.need([3, 4])
    sealed = keys.seal(4, b"another", b"")
    root = KeyFile(place / "root.key")
    new = root.add()
    if written:
        keys._write(new, keys._keys)
    again = keys_of(place)
    assert again.open(4, sealed, b"") == b"another"
    assert root.keys() == [new]
    assert keys_of(place).open(4, sealed, b"") == b"another"


@pytest.mark.parametrize("written", [False, True])
def test_a_reader_beside_a_rotation_reads_and_leaves_it_to_the_owner(place, written):
    keys = keys_of(place)
    keys.need([4])
    sealed = keys.seal(4, b"another", b"")
    root = KeyFile(place / "root.key")
    new = root.add()
    if written:
        keys._write(new, keys._keys)
    both, file = root.keys(), (place / "store" / "keys.json").read_bytes()
    reader = SubjectKeys(place / "store", STORE, root, read_only=True)
    assert reader.open(4, sealed, b"") == b"another"
    assert root.keys() == both and (place / "store" / "keys.json").read_bytes() == file


def test_the_root_key_is_in_no_file_of_the_store(place):
    keys = keys_of(place)
    keys.need(range(5))
    text = (place / "store" / "keys.json").read_bytes()
    for key in [*KeyFile(place / "root.key").keys(), *keys._keys.values()]:
        assert key not in text and key.hex().encode() not in text
    assert os.stat(place / "root.key").st_mode & 0o077 == 0


def test_wrong_keys_and_damaged_files_are_named(place):
    keys_of(place).need([1])
    with pytest.raises(WrongKey):
        keys_of(place, "other.key")
    (place / "short.key").write_text("abcd\n")
    with pytest.raises(BadRecord, match="32 bytes"):
        keys_of(place, "short.key")
    path = place / "store" / "keys.json"
    outer = json.loads(path.read_text())
    path.write_text(json.dumps({**outer, "text": outer["text"].replace("wrapped", "wripped")}))
    with pytest.raises(StoreDamaged):
        keys_of(place)
