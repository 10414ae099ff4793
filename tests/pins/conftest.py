"""Unpacked fixtures, and a cache folder of the test session."""

from __future__ import annotations

import json
import sys
import tarfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # stories


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGECL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def pinned(tmp_path, monkeypatch):
    """pinned(name) -> what it is expected to do; the process then stands in the folder of its files."""

    def unpack(name: str) -> dict:
        folder = tmp_path / name
        with tarfile.open(HERE / f"{name}.tar.xz") as archive:
            archive.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
        monkeypatch.chdir(folder)
        return json.loads((HERE / "expected.json").read_text())[name]

    return unpack
