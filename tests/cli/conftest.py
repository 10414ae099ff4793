"""A tiny stream and the command as a user starts it."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest


@pytest.fixture(scope="session")
def environment(tmp_path_factory) -> dict:
    return {**os.environ, "EDGECL_CACHE": str(tmp_path_factory.mktemp("cache")), "NO_COLOR": "1"}


@pytest.fixture(scope="session")
def stream(tmp_path_factory) -> str:
    rng = np.random.default_rng(7)
    patterns = rng.integers(60, 180, (12, 12)) + rng.normal(0, 12, (4, 12, 12))
    y = np.repeat(np.arange(4), 60)
    x = np.clip(patterns[y] + rng.normal(0, 12, (y.size, 12, 12)), 0, 255).astype(np.uint8)
    path = tmp_path_factory.mktemp("stream") / "tiny.npz"
    np.savez(path, x=x, y=y)
    return str(path)


@pytest.fixture
def edgecl(environment, tmp_path):
    """edgecl(*arguments) -> CompletedProcess, in a process and folder of its own."""

    def call(*arguments: object, **options) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "edgecl", *map(str, arguments)]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=environment,
            cwd=tmp_path,
            timeout=120,
            check=False,
            **options,
        )

    return call
