"""The command as a user starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def environment(tmp_path_factory) -> dict:
    return {**os.environ, "EDGECL_CACHE": str(tmp_path_factory.mktemp("cache")), "NO_COLOR": "1"}


@pytest.fixture(scope="session")
def edgecl_in(environment):
    """edgecl_in(folder, *arguments) -> CompletedProcess, in a process of its own."""

    def call(folder: Path, *arguments: object, **options) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "edgecl", *map(str, arguments)]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=environment,
            cwd=folder,
            timeout=120,
            check=False,
            **options,
        )

    return call


@pytest.fixture
def edgecl(edgecl_in, tmp_path):
    """Likewise, in a folder of the test's own."""
    return partial(edgecl_in, tmp_path)
