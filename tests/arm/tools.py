"""Folders, programs and how commands are run. Everything written goes below out/ of the repository."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
OUT = REPOSITORY / "out" / "arm"
ROOT = OUT / "root"  # Debian 12 arm64, unpacked
SITE = ROOT / "opt" / "site"  # packages for its Python
PYTHON = ROOT / "usr" / "bin" / "python3.11"

# program: Debian package
PROGRAMS = {
    "qemu-aarch64": "qemu-user",
    "aarch64-linux-gnu-g++": "g++-aarch64-linux-gnu",
    "mmdebstrap": "mmdebstrap",
    "gcc": "gcc",
    "unshare": "util-linux",
}
SYSTEM_PROGRAMS = {"qemu-system-aarch64": "qemu-system-arm", "cpio": "cpio", "mkfs.ext4": "e2fsprogs", "gzip": "gzip"}
LOOP_PROGRAMS = {"llvm-mca-19": "llvm-19"}


def require(programs: Mapping[str, str] = PROGRAMS) -> None:
    """Exit with one line of cause and one of remedy when a program, or root, is missing."""
    missing = [package for program, package in programs.items() if shutil.which(program) is None]
    if missing:
        packages = " ".join(dict.fromkeys(missing))
        raise SystemExit(
            f"missing: {packages} (Debian 12 or its like)\n  try: apt-get install -y --no-install-recommends {packages}"
        )
    if os.geteuid() != 0:
        raise SystemExit("mmdebstrap unpacks a root with its owners, which only root may\n  try: sudo make arm")


def run(command: Sequence[object], *, env: Mapping[str, str] | None = None, **options) -> subprocess.CompletedProcess:
    """A command shown and run at low priority; the program ends when it fails."""
    words = list(map(str, command))
    print("$", shlex.join(words), flush=True)
    done = subprocess.run(
        [shutil.which("nice"), "-n", "10", *words], env={**os.environ, **(env or {})}, check=False, **options
    )
    if done.returncode:
        for stream in (done.stdout, done.stderr):
            if stream:
                print(stream if isinstance(stream, str) else stream.decode(errors="replace"), file=sys.stderr)
        raise SystemExit(f"failed with status {done.returncode}: {shlex.join(words)}")
    return done


@contextmanager
def stage(name: str, seconds: dict[str, float]) -> Iterator[None]:
    """A named part of the work; its wall time goes to ``seconds``."""
    print(f"== {name}", flush=True)
    begun = time.monotonic()
    yield
    seconds[name] = time.monotonic() - begun
    print(f"== {name}: {seconds[name]:.0f} s", flush=True)
