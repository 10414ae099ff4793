"""System calls that fail on request: the library of failing_calls.c, built and preloaded."""

from __future__ import annotations

import ctypes
import errno
import subprocess
from dataclasses import dataclass
from pathlib import Path

CALLS = ("write", "pwrite", "fsync", "fdatasync", "rename", "unlink", "ftruncate", "open", "pread", "mmap")
KINDS = (*CALLS, "allocation")
FAIL, KILL_BEFORE, KILL_AFTER = 0, 1, 2


def build(folder: Path) -> Path:
    """The library, compiled into ``folder``. Needs gcc; `FileNotFoundError` without one."""
    library = folder / "failing_calls.so"
    source = Path(__file__).with_name("failing_calls.c")
    options = ["-O1", "-fexceptions", "-shared", "-fPIC", "-o", library, source, "-ldl"]
    libraries = ["-Wl,--no-as-needed", "-lstdc++"]  # there before a module asks for it, so that its `new` is found
    subprocess.run(["gcc", *options, *libraries], check=True, capture_output=True)
    return library


@dataclass(frozen=True)
class Point:
    """One place of a life at which something happens: the ``nth`` call of a kind fails with an errno, it alone or
    every one from it on (sticky), or the process is killed before or after it.
    """

    kind: str
    nth: int
    err: int = errno.EIO
    sticky: bool = False
    mode: int = FAIL

    @property
    def name(self) -> str:
        if self.mode != FAIL:
            return f"SIGKILL {'before' if self.mode == KILL_BEFORE else 'after'} {self.kind} {self.nth}"
        return f"{self.kind} {self.nth}{' and later' if self.sticky else ''}: {errno.errorcode[self.err]}"


class Calls:
    """The preloaded library as this process has it. Raises `AttributeError` when it was not preloaded."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        self._library.failing_seen.restype = ctypes.c_long

    def roots(self, *folders: Path) -> None:
        """Calls on files below these folders count."""
        self._library.failing_roots(":".join(f"{f}/" for f in folders).encode())

    def modules(self, *names: str) -> None:
        """Allocations of these libraries count, which are loaded by now."""
        spans: dict[str, list[int]] = {}
        for line in Path("/proc/self/maps").read_text().splitlines():
            span, *_, path = line.split(maxsplit=5)
            if any(Path(path).name.startswith(name) for name in names):
                spans.setdefault(path, []).extend(int(end, 16) for end in span.split("-"))
        for ends in spans.values():
            self._library.failing_code(ctypes.c_void_p(min(ends)), ctypes.c_void_p(max(ends)))

    def arm(self, point: Point | None) -> None:
        """From here on calls count; None: none fails."""
        if point is None:
            self._library.failing_arm(-1, ctypes.c_long(-1), 0, 0, 0)
        else:
            kind, nth = KINDS.index(point.kind), ctypes.c_long(point.nth)
            self._library.failing_arm(kind, nth, point.err, int(point.sticky), point.mode)

    def disarm(self) -> None:
        self._library.failing_disarm()

    def seen(self) -> dict[str, int]:
        """Calls by kind since `arm`."""
        return {kind: int(self._library.failing_seen(i)) for i, kind in enumerate(KINDS)}
