"""The pages of docs/extend are followed to their end in an environment that has the wheel and its extras alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from page_blocks import ROOT, name_of

PAGES = sorted((ROOT / "docs" / "extend").glob("*.md"))
EXTRAS = "cli,codecs,torch,onnx"


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """The Python of a new environment with the wheel (``EDGECL_WHEEL``, or one built here)."""
    folder = tmp_path_factory.mktemp("clean")
    wheel = os.environ.get("EDGECL_WHEEL")
    pip = [sys.executable, "-m", "pip"]
    if wheel is None:
        built = [*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT)]
        subprocess.run(built, check=True)
        (wheel,) = map(str, folder.glob("edgecl-*.whl"))
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    made = folder / "venv" / "bin" / "python"
    given = [f"{wheel}[{EXTRAS}]", "-c", str(ROOT / "constraints.txt")]
    subprocess.run([str(made), "-m", "pip", "install", "-q", *given], check=True)
    return made


@pytest.mark.campaign
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_is_followed_with_the_wheel_alone(page, python, tmp_path):
    command = [str(python), "-P", str(ROOT / "tests" / "docs" / "follow.py"), str(page)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    where = subprocess.run([str(python), "-P", "-c", "import edgecl; print(edgecl.__file__)"], capture_output=True)
    assert b"site-packages" in where.stdout
