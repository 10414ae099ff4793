"""Plugins as a user has them: distributions that pip installed into a folder of the test's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def install(tmp_path_factory):
    """install(project, version=None, name=None) -> folder for PYTHONPATH; ``project`` is a folder beside this file."""

    def make(project: str, version: str | None = None, name: str | None = None) -> Path:
        source = tmp_path_factory.mktemp("project") / project
        shutil.copytree(HERE / project, source)
        shutil.copy(HERE / "wheel_backend.py", source)
        about = source / "pyproject.toml"
        lines = about.read_text().splitlines()
        for key, value in (("version", version), ("name", name)):
            if value is not None:
                lines = [f'{key} = "{value}"' if line.startswith(f"{key} =") else line for line in lines]
        about.write_text("\n".join(lines))
        target = tmp_path_factory.mktemp("packages")
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
        subprocess.run([*pip, "--disable-pip-version-check", "--target", target, source], check=True)
        return target

    return make


@pytest.fixture
def python(tmp_path):
    """python(code, *packages) -> CompletedProcess of the code, with folders of packages to import from."""

    def call(code: str, *packages: Path, **more: str) -> subprocess.CompletedProcess:
        path = os.pathsep.join([*map(str, packages), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PYTHONPATH": path, "EDGECL_CACHE": str(tmp_path / "cache"), **more}
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=120,
            check=False,
        )  # fmt: skip

    return call
