"""A tiny stream with something to learn: 4 classes of 12x12 images, 2 tasks, made in the test."""

from __future__ import annotations

import os

import numpy as np
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


@pytest.fixture(scope="session")
def stream(tmp_path_factory) -> str:
    rng = np.random.default_rng(7)
    # classes share most of their picture, so that training on two of them forgets the other two
    patterns = rng.integers(60, 180, (12, 12)) + rng.normal(0, 12, (4, 12, 12))
    y = np.repeat(np.arange(4), 60)
    x = np.clip(patterns[y] + rng.normal(0, 12, (y.size, 12, 12)), 0, 255).astype(np.uint8)
    path = tmp_path_factory.mktemp("stream") / "tiny.npz"
    np.savez(path, x=x, y=y)
    return str(path)


@pytest.fixture
def options(stream) -> dict:
    """DER++ at 90 % with every part switched on; a second or so."""
    return {
        "stream": stream,
        "model": "mlp",
        "method": "der++",
        "epochs": 10,
        "batch": 16,
        "memory": 24,
        "mask": "tdm",
        "lr": 0.05,
    }
