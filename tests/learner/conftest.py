"""Runs of a second: a cache folder and options for the tiny stream."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_cache(session_cache):
    pass


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
