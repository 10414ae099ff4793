"""A receipt of forgetting is checked against the files, by whoever has them."""

import shutil

import numpy as np
import pytest
from edgecl.storage import KeyFile, SampleStore, audit
from edgecl.storage.errors import BadRecord, StoreError
from store_samples import SCHEMA, logits_of, sample_of


def fill(path, key=None):
    with SampleStore(path, SCHEMA, root_key=key) as store:
        ids = np.arange(60)
        store.append(sample_of(ids), ids % 3, ids % 4, fields={"logits": logits_of(ids)})


def plain(receipt):
    return {**vars(receipt), "ids": receipt.ids.tolist()}


def failing(findings):
    return [f.what for f in findings if not f.holds]


@pytest.mark.parametrize("sealed", [False, True])
def test_a_receipt_holds_and_a_copy_from_before_does_not(tmp_path, sealed):
    if sealed:
        pytest.importorskip("cryptography")
    key = KeyFile(tmp_path / "key") if sealed else None
    fill(tmp_path / "s", key)
    shutil.copytree(tmp_path / "s", tmp_path / "before")
    with SampleStore(tmp_path / "s", root_key=key) as store:
        receipt = plain(store.forget(2))
        assert failing(audit(receipt)) == []  # beside the owner, too
        store.append(sample_of([60]), 0, 2)  # a later one of the same subject is kept
    assert failing(audit(receipt)) == []
    shutil.move(tmp_path / "s", tmp_path / "moved")
    with pytest.raises(StoreError, match="no store"):
        audit(receipt)
    assert failing(audit(receipt, tmp_path / "moved")) == []
    found = failing(audit(receipt, tmp_path / "before"))
    assert "the request is noted as ended" in found and len(found) >= 2


def test_what_was_brought_back_shows(tmp_path):
    fill(tmp_path / "s")
    kept = {p.name: p.read_bytes() for p in (tmp_path / "s" / "segments").iterdir()}
    with SampleStore(tmp_path / "s") as store:
        receipt = plain(store.forget(1))
    for name, content in kept.items():
        (tmp_path / "s" / "segments" / name).write_bytes(content)
    found = failing(audit(receipt))
    assert "no record of the subject is in a segment" in found
    assert "no field value of its samples is in a file" in found
    (tmp_path / "s" / "values.json.abc.tmp").write_bytes(b"x")
    assert "nothing half-written is left" in failing(audit(receipt))
    with SampleStore(tmp_path / "s"):  # an opening ends it again
        pass
    assert failing(audit(receipt)) == []


NONE = [{}, {"subject": -1, "below": 1, "holds": "overwritten"}, {"subject": 1, "below": True}]


@pytest.mark.parametrize("wrong", NONE)
def test_what_is_no_receipt_is_refused(tmp_path, wrong):
    with pytest.raises(BadRecord, match="no receipt"):
        audit(wrong, tmp_path)
