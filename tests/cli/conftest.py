"""The command as a user starts it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.fixture(scope="session")
def environment(tmp_path_factory) -> dict:
    return {**os.environ, "EDGECL_CACHE": str(tmp_path_factory.mktemp("cache")), "NO_COLOR": "1"}


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
