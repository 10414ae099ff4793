"""`edgecl store forget`."""

from __future__ import annotations

import json

import numpy as np
import pytest
from edgecl.storage import KeyFile, SampleStore, StreamSchema


@pytest.mark.parametrize("encrypted", [False, True], ids=["clear", "encrypted"])
def test_it_takes_out_a_subject_and_prints_a_receipt(edgecl, tmp_path, encrypted):
    if encrypted:
        pytest.importorskip("cryptography")
    root = KeyFile(tmp_path / "root.key") if encrypted else None
    key = ["--root-key-file", "root.key"] if encrypted else []
    with SampleStore(tmp_path / "s", StreamSchema((4,), "uint8"), root_key=root) as store:
        store.append(np.ones((10, 4), np.uint8), 0, np.arange(10) % 2)
    if encrypted:
        assert edgecl("store", "stats", "s").returncode == 2
        (tmp_path / "s" / "in.key").write_text((tmp_path / "root.key").read_text())
        inside = edgecl("store", "forget", "s", "--subject", 1, "--root-key-file", "s/in.key")
        assert inside.returncode == 2 and "lies in 's'" in inside.stderr
    done = edgecl("store", "forget", "s", "--subject", 1, "--json", *key)
    assert done.returncode == 0, done.stderr
    receipt = json.loads(done.stdout)
    assert receipt["ids"] == [1, 3, 5, 7, 9] and receipt["weights"].startswith("The weights still carry")
    assert receipt["holds"] == ("key dropped" if encrypted else "overwritten")
    (tmp_path / "receipt.json").write_text(done.stdout)
    audited = edgecl("store", "audit", "receipt.json", "--json")
    assert audited.returncode == 0 and json.loads(audited.stdout)["holds"], audited.stdout
    (tmp_path / "s" / "forgotten.json").unlink()
    assert edgecl("store", "audit", "receipt.json").returncode == 1
    (tmp_path / "receipt.json").write_text("[1]")
    assert edgecl("store", "audit", "receipt.json").returncode == 2
    assert json.loads(edgecl("store", "verify", "s", "--json", *key).stdout)["samples"] == 5
