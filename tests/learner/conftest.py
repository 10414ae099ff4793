"""Runs of a second: a cache folder and options for the tiny stream."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Converted data goes to a cache folder of the test session."""
    before = os.environ.get("EDGECL_CACHE")
    os.environ["EDGECL_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["EDGECL_CACHE"]
    else:
        os.environ["EDGECL_CACHE"] = before


@pytest.fixture
def options(stream) -> dict:
    """DER++ at 90 % with every part switched on; a second or so."""
    return {
        "stream": stream,
        "network": "mlp",
        "method": "der++",
        "epochs": 10,
        "batch": 16,
        "memory": 24,
        "sparsity_policy": "tdm",
        "lr": 0.05,
    }
