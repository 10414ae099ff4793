"""A store written by format 1 (tests/storage/data/format1.tar.xz, made by edgecl 0.1.0) opens, serves and goes on."""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from edgecl.storage import SampleStore
from edgecl.storage.layout import STORE_FORMAT
from store_samples import SCHEMA, logits_of, sample_of

LIMIT = 600_000
COUNTS = {0: 270, 1: 270, 2: 270, 4: 271, 7: 271}  # as the store itself listed them when it was written


@pytest.fixture
def old(tmp_path):
    with tarfile.open(Path(__file__).parent / "data" / "format1.tar.xz") as archive:
        archive.extractall(tmp_path, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return tmp_path / "format1"


def check(store):
    assert store.next_id >= 5000 and {c: store.count_of(c) for c in COUNTS} == COUNTS
    ids = np.sort(np.concatenate([store.ids_of_class(c) for c in store.classes()]))
    batch = store.read(ids)
    assert batch["ok"].all() and (batch["samples"] == sample_of(ids)).all()
    assert (batch["classes"] == ids * ids % 7 % 5 * (ids < 2500) + 7 * (ids >= 2500)).all()
    assert (batch["subjects"] == ids % 11 - 1).all() and (batch["times"] == 1.7e9 + ids).all()
    values, widths = batch["fields"]["logits"]
    assert (widths == 4).all() and (values == logits_of(ids)).all()
    assert store.meta_get("who") == b"format 1" or store.rebuilt
    return ids


def format_of(path):
    return json.loads(json.loads((path / "store.json").read_text())["text"])["format"]


def test_everything_is_there_and_the_store_says_its_new_format(old):
    assert format_of(old) == 1
    with SampleStore(old, limit_bytes=LIMIT) as store:
        check(store)
        assert store.verify() == []
    assert format_of(old) == STORE_FORMAT == 3
    with SampleStore(old, SCHEMA, limit_bytes=LIMIT) as store:
        check(store)


def test_a_reader_leaves_it_as_it_is(old):
    with SampleStore(old, read_only=True) as store:
        check(store)
    assert format_of(old) == 1


def test_it_is_rebuilt_without_its_index(old):
    shutil.rmtree(old / "index")
    with SampleStore(old, limit_bytes=LIMIT) as store:
        assert store.rebuilt
        ids = check_rebuilt(store)
        assert len(ids) == sum(COUNTS.values())


def check_rebuilt(store):
    ids = np.sort(np.concatenate([store.ids_of_class(c) for c in store.classes()]))
    batch = store.read(ids)
    assert batch["ok"].all() and (batch["samples"] == sample_of(ids)).all()
    return ids


def test_damaged_headers_of_both_formats_cost_nothing(old):
    for file in (old / "segments").iterdir():
        raw = bytearray(file.read_bytes())
        raw[20] ^= 255
        file.write_bytes(raw)
    with SampleStore(old, limit_bytes=LIMIT) as store:
        check(store)


def test_new_samples_go_on_in_the_new_format_beside_the_old(old):
    with SampleStore(old, limit_bytes=LIMIT) as store:
        store.append(sample_of(range(5000, 9000)), np.arange(5000, 9000) % 5, fields=None)
        ids = check_rebuilt(store)
        assert store.next_id == 9000 and (ids >= 5000).sum() > 500
    with SampleStore(old, limit_bytes=LIMIT) as store:
        assert (check_rebuilt(store) == ids).all() and store.verify() == []
