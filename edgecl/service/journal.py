"""Journal: what the service decided, one JSON line each, in two files of at most 1 MB."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

LOG = logging.getLogger("edgecl.service")
MOST_BYTES, KEPT = 1_000_000, 512


def boot_id() -> str:
    """The kernel's, so that times of two boots are not compared; empty where there is none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


class Journal:
    """Numbered decisions, the last 512 in RAM too. A full disk loses lines, never the daemon.

    listener : called with every decision
    """

    def __init__(self, folder: Path) -> None:
        self.path, self._older = folder / "decisions.jsonl", folder / "decisions.1.jsonl"
        self._lock = threading.Lock()
        self._boot = boot_id()
        self.listener: Callable[[dict[str, Any]], None] = lambda entry: None
        self._kept: deque[dict[str, Any]] = deque(self._read(), KEPT)
        self._next = 1 + (self._kept[-1]["number"] if self._kept else 0)

    def _read(self) -> list[dict[str, Any]]:
        found = []
        for path in (self._older, self.path):
            try:
                lines = path.read_bytes().splitlines()[-KEPT:]
            except OSError:
                continue
            for line in lines:
                try:
                    entry = json.loads(line)
                    found.append(entry | {"number": int(entry["number"])})
                except (ValueError, KeyError, TypeError):  # a line that a power cut left
                    continue
        return found

    def write(self, kind: str, step: int, **about: Any) -> dict[str, Any]:
        """Note a decision of ``kind`` taken at the trainer's ``step``."""
        with self._lock:
            entry = {"number": self._next, "kind": kind, "step": step, "time": round(time.time(), 3),
                     "boot": self._boot, **about}  # fmt: skip
            self._next += 1
            self._kept.append(entry)
            try:
                self._append(json.dumps(entry).encode() + b"\n")
            except OSError as error:
                LOG.warning("the journal cannot be written: %s", error.strerror, extra={"event": "journal"})
        words = ", ".join(f"{k} {v}" for k, v in about.items() if not isinstance(v, (dict, list)))
        LOG.info("%s%s", kind, f": {words}" if words else "", extra={"event": kind, "step": step})
        self.listener(entry)
        return entry

    def _append(self, line: bytes) -> None:
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            if os.fstat(fd).st_size + len(line) > MOST_BYTES:
                os.replace(self.path, self._older)
                os.close(fd)
                fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            os.write(fd, line)
        finally:
            os.close(fd)

    def since(self, number: int) -> list[dict[str, Any]]:
        """Decisions with a higher number, as far as they are kept."""
        with self._lock:
            return [e for e in self._kept if e["number"] > number]
