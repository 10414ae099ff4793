"""Trials of executors: what a prefix takes of RAM and time with each, measured in processes of their own.

A prefix is written once as a network and, for onnxruntime, as ONNX into the cache folder, under its digest; what a
trial measured is kept beside it.
"""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ...child import python_command
from ...errors import BadInput, EdgeclError
from ...folders import cache_path
from ...storage.bounded import read_json_file

if TYPE_CHECKING:
    from ...network import Network
    from .base import Executor


class Trial(NamedTuple):
    """bytes : by which a process grows that reads the prefix, opens and runs it;  milliseconds : of a sample"""

    bytes: int
    milliseconds: float


def tried(prefix: Network, executor: Executor) -> Trial:
    """What a child process measured, once for each prefix and executor. Raises `EdgeclError` where it failed."""
    kept = _kept(prefix, executor.identity().replace(" ", "-") + ".json")
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = read_json_file(kept)
        return Trial(int(found["bytes"]), float(found["milliseconds"]))
    answer = _child("measure", str(_network(prefix)), executor.name)
    made = Trial(int(answer["bytes"]), float(answer["milliseconds"]))
    _write(kept, json.dumps(made._asdict()).encode())
    return made


def converted(prefix: Network) -> Path:
    """The prefix as an ONNX file, written by a child process: importing what writes it takes 16 MB."""
    path = _kept(prefix, "onnx")
    if not path.is_file():
        _child("convert", str(_network(prefix)), str(path))
    return path


def _network(prefix: Network) -> Path:
    path = _kept(prefix, "edgecl")
    if not path.is_file():
        with _writing(path.parent):
            prefix.save(path)
    return path


def _kept(prefix: Network, suffix: str) -> Path:
    return Path(cache_path()) / "prefixes" / f"{prefix.digest[:32]}.{suffix}"


class _writing:
    """Makes the folder; errors say what to do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._told(error) from error

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, OSError):
            raise self._told(error) from error

    def _told(self, error: OSError) -> EdgeclError:
        return EdgeclError(
            f"Nothing can be written to {self.folder}: {error.strerror or error}.",
            "Set EDGECL_CACHE to a folder you may write to.",
        )


def _write(path: Path, content: bytes) -> None:
    with _writing(path.parent):
        work = path.with_name(f"{path.name}.{os.getpid()}.part")
        work.write_bytes(content)
        work.replace(path)


def _child(what: str, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        python_command("edgecl.fronts.executors.measuring", what, *arguments),
        capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    try:
        answer = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError) as error:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise EdgeclError(
            f"The trial of an executor failed (status {done.returncode}): {last}", "Use executor='native'."
        ) from error
    if "cause" in answer:
        raise (BadInput if answer["bad_input"] else EdgeclError)(answer["cause"], answer["remedy"])
    return answer  # type: ignore[no-any-return]
