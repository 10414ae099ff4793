"""Names of classes: kept over openings and damage, and gone with the subject whose samples alone had them."""

import json
import shutil

import numpy as np
import pytest
from edgecl.storage import SampleStore, audit
from edgecl.storage.errors import StoreDamaged, StoreError
from edgecl.storage.naming import FILES, ClassNames
from store_samples import SCHEMA, sample_of

NAMES = ["a cat", 7, None, "Mrs Example"]


def written(folder):
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_names_are_there_again_and_one_damaged_file_costs_none(tmp_path, root):
    with SampleStore(tmp_path / "s", SCHEMA, root_key=root) as store:
        assert store.class_names() == ClassNames()
        store.name_classes(NAMES, {3: 5})
    for name in FILES:
        with SampleStore(tmp_path / "s", root_key=root) as store:
            assert store.class_names() == ClassNames(NAMES, {3: 5})
        (tmp_path / "s" / name).write_bytes(b"rot")
        with SampleStore(tmp_path / "s", root_key=root, read_only=True) as store:
            assert store.class_names() == ClassNames(NAMES, {3: 5})
    with SampleStore(tmp_path / "s", root_key=root):
        pass
    for name in FILES:
        (tmp_path / "s" / name).write_bytes(b"rot")
    with SampleStore(tmp_path / "s", root_key=root) as store, pytest.raises(StoreDamaged, match="names"):
        store.class_names()


def test_a_name_goes_with_the_subject_who_alone_had_it(tmp_path, root):
    with SampleStore(tmp_path / "s", SCHEMA, root_key=root) as store:
        store.name_classes(NAMES, {3: 5, 1: 6})
        store.append(sample_of(range(4)), [3, 3, 1, 0], [5, 5, 6, -1])
        store.name_classes([*NAMES, "later"], {3: 5, 1: 6, 4: 5})
        shutil.copytree(tmp_path / "s", tmp_path / "before")
        receipt = store.forget(5)
        assert store.class_names() == ClassNames(["a cat", 7, None, None, None], {1: 6})
        assert set(FILES) <= set(receipt.files)
    seen = written(tmp_path / "s")
    assert b"Mrs Example" not in seen and b"a cat" in seen
    assert (b"Mrs Example" in written(tmp_path / "before")) == (root is None)
    plain = {**vars(receipt), "ids": receipt.ids.tolist()}
    assert all(finding.holds for finding in audit(plain))
    wrong = [f.what for f in audit(plain, tmp_path / "before") if not f.holds]
    assert "no name of a class is the subject's alone" in wrong
    with SampleStore(tmp_path / "s", root_key=root) as store:
        store.name_classes(["a cat", 7, None, None, "again"], {1: 6, 4: 5})  # what comes later is kept
    assert all(finding.holds for finding in audit(plain))
    with SampleStore(tmp_path / "s", root_key=root) as store:
        assert store.class_names().names[4] == "again"


def test_a_crash_between_the_two_files_is_mended(tmp_path):
    with SampleStore(tmp_path / "s", SCHEMA) as store:
        store.name_classes(NAMES, {3: 5})
        store.append(sample_of([0]), 3, 5)
        old = (tmp_path / "s" / FILES[1]).read_bytes()
        store.forget(5)
    (tmp_path / "s" / FILES[1]).write_bytes(old)
    with SampleStore(tmp_path / "s") as store:
        assert store.class_names().names[3] is None
    assert b"Mrs Example" not in written(tmp_path / "s")


def test_a_store_of_an_earlier_version_keeps_its_names_and_its_samples_say_whose_they_are(tmp_path):
    with SampleStore(tmp_path / "s", SCHEMA) as store:
        store.meta_set({"labels": json.dumps(NAMES).encode()})
        store.append(sample_of(range(5)), [3, 3, 1, 1, 0], [5, 5, 6, 5, 6])
        assert store.class_names() == ClassNames(NAMES, {3: 5, 0: 6})
        store.forget(5)
        assert store.class_names() == ClassNames([*NAMES[:3], None], {0: 6})
        assert store.meta_get("labels") is None


FORGED = ["x", ["x"], [["x", 0]], [["x", -2, 0]], [["x", 2**31, 0]], [["x", 0, -1]], [[True, 0, 0]], [[1.5, 0, 0]]]


@pytest.mark.parametrize("rows", [*FORGED, [[{"sealed": "!"}, 0, 0]], [[{"other": 1}, 0, 0]], [[{}, "a", 0]]])
def test_forged_files_are_damaged_files(tmp_path, rows):
    from edgecl.storage.jsonfile import read_json, write_json

    with SampleStore(tmp_path / "s", SCHEMA) as store:
        store.name_classes(NAMES, {})
    for name in FILES:
        kept = read_json(tmp_path / "s" / name)
        write_json(tmp_path / "s" / name, {**kept, "names": rows})
    with SampleStore(tmp_path / "s") as store, pytest.raises(StoreError, match="names"):
        store.class_names()


def test_names_of_a_store_that_was_replaced_are_not_taken(tmp_path):
    for name in ("a", "b"):
        with SampleStore(tmp_path / name, SCHEMA) as store:
            store.name_classes([name], {})
    for name in FILES:
        shutil.copy(tmp_path / "a" / name, tmp_path / "b" / name)
    with SampleStore(tmp_path / "b") as store:
        assert store.class_names() == ClassNames()
        store.append(sample_of(np.arange(3)), 0)
