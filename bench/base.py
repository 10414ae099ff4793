"""Another commit of edgecl beside this one: built once into out/base, run in processes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def revision(commit: str) -> str:
    """The full name of a commit."""
    return subprocess.run(
        ["git", "rev-parse", f"{commit}^{{commit}}"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


def build(commit: str) -> Path:
    """A folder for PYTHONPATH with edgecl as ``commit`` has it; built when it is not there yet."""
    name = revision(commit)
    target = ROOT / "out" / "base" / name[:12]
    if (target / "edgecl").exists():
        return target
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary) / "source"
        source.mkdir()
        archive = subprocess.Popen(["git", "archive", name], cwd=ROOT, stdout=subprocess.PIPE)
        subprocess.run(["tar", "x", "-C", str(source)], stdin=archive.stdout, check=True)
        archive.wait()
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), str(source)]
        print(f"building {commit} ({name[:12]})", file=sys.stderr, flush=True)
        subprocess.run(pip, check=True, stdout=sys.stderr)
    return target


def environment(folder: Path | None) -> dict[str, str]:
    """Of a process that imports edgecl from ``folder``; None: the one that this process would import."""
    found = {**os.environ, "OMP_NUM_THREADS": "1"}
    found.pop("PYTHONDONTWRITEBYTECODE", None)  # or each process compiles the package anew
    if folder is not None:
        found["PYTHONPATH"] = str(folder)
    return found


class Worker:
    """A process that runs ``code`` with one version of edgecl and answers a line of JSON to every line it is given."""

    def __init__(self, code: str, folder: Path | None, *arguments: str) -> None:
        command = [sys.executable, "-P", "-W", "ignore", "-c", code, *arguments]
        self._process = subprocess.Popen(
            command, env=environment(folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/"
        )

    def ask(self, line: str) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        print(line, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the worker ended with status {self._process.wait()}")
        return json.loads(answer)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
