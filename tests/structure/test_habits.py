"""The workflows are sound by actionlint, what they and the hooks call is there, and the version is one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from source import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

def actionlint(files: list[Path]) -> list[str]:
    """What actionlint says, a line each. Skips where it is not here."""
    program = shutil.which("actionlint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        pytest.skip("needs actionlint")
    done = subprocess.run([program, "-no-color", "-oneline", *files], capture_output=True, text=True, check=False)
    return [*done.stdout.splitlines(), *done.stderr.splitlines()]


def test_the_workflows_are_sound():
    assert actionlint(WORKFLOWS) == []


def test_a_workflow_that_is_not_sound_would_be_found(tmp_path):
    broken = tmp_path / ".github" / "workflows" / "broken.yml"
    broken.parent.mkdir(parents=True)
    broken.write_text(WORKFLOWS[0].read_text().replace("runs-on:", "runs_on:"))
    assert actionlint([broken])


def test_what_workflows_and_hooks_call_is_there():
    makefile = (ROOT / "Makefile").read_text()
    for file in WORKFLOWS:
        for target in re.findall(r"\bmake ([\w-]+)", file.read_text()):
            assert re.search(rf"^(?:[\w -]+ )?{target}(?: [\w -]+)?:", makefile, re.M), (file.name, target)
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    for script in re.findall(r"entry: python -P (\S+)", hooks):
        assert (ROOT / script).is_file()


def test_the_version_is_one():
    written = (ROOT / "pyproject.toml").read_text()
    found = re.search(r'^version = "(.+)"', written, re.M)
    assert found and f'__version__ = "{found[1]}"' in (ROOT / "edgecl" / "__init__.py").read_text()
