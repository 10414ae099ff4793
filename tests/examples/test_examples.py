"""Every script of `examples` runs as it stands, in an empty folder, and says what it says it does."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SAYS = {
    "own_photos": (r"(\d+) of 12 photographs", 11),
    "own_sensor": (r"(\d+) of 30 windows", 27),
    "own_torch_model": (r"(\d+) of 60 right", 54),
    "own_onnx_model": (r"(\d+) of 50 right", 45),
    "own_method": (r"slow-er: (\d+) of 100 right", 40),
    "embed_in_fastapi": (r"(\d+) dark and 8 bright", 8),
    "forget_a_person": (r"still understood: (\d+) of 10", 9),
    "export_and_compare": (r"sparse (\d\.\d+)", 0.7),
}
NEEDS = {
    "own_torch_model": "torch", "own_onnx_model": "onnx", "export_and_compare": "onnx", "embed_in_fastapi": "fastapi",
}  # fmt: skip


def test_every_script_is_run():
    assert set(SAYS) == {file.stem for file in EXAMPLES.glob("*.py")} and len(SAYS) >= 8


@pytest.mark.parametrize("name", SAYS)
def test_a_script_runs(name, tmp_path):
    if name in NEEDS and find_spec(NEEDS[name]) is None:
        pytest.skip(f"needs {NEEDS[name]}")
    command = [sys.executable, "-P", str(EXAMPLES / f"{name}.py")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    pattern, least = SAYS[name]
    found = re.search(pattern, done.stdout)
    assert found and float(found[1]) >= least, done.stdout


def test_a_script_is_short():
    assert {f.name: n for f in EXAMPLES.glob("*.py") if (n := len(f.read_text().splitlines())) > 90} == {}
