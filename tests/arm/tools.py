"""Folders, programs and how commands are run. Everything written goes below out/ of the repository."""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
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
    """A command shown and run; the program ends when it fails."""
    words = list(map(str, command))
    print("$", shlex.join(words), flush=True)
    done = subprocess.run(words, env={**os.environ, **(env or {})}, check=False, **options)
    if done.returncode:
        for stream in (done.stdout, done.stderr):
            if stream:
                print(stream if isinstance(stream, str) else stream.decode(errors="replace"), file=sys.stderr)
        raise SystemExit(f"failed with status {done.returncode}: {shlex.join(words)}")
    return done


@dataclass(frozen=True)
class Spent:
    """Seconds of a part of the work: of the wall, and of all processors together."""

    wall: float
    cpu: float


@contextmanager
def stage(name: str, spent: dict[str, Spent]) -> Iterator[None]:
    """A named part of the work; its seconds go to ``spent``."""
    print(f"== {name}", flush=True)
    wall, cpu = time.monotonic(), _cpu()
    yield
    spent[name] = Spent(time.monotonic() - wall, _cpu() - cpu)
    print(f"== {name}: {spent[name].wall:.0f} s, {spent[name].cpu:.0f} s of processor time", flush=True)


def _cpu() -> float:
    """Processor seconds of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def side_by_side(jobs: Mapping[str, Sequence[object]], spent: dict[str, Spent]) -> list[str]:
    """Run commands, as many at a time as there are processors, each one's output in a log below OUT, shown when it
    fails; the names of those that failed."""
    logs = OUT / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)

    def one(name: str) -> bool:
        log = logs / f"{name.replace(' ', '-').replace('/', '-')}.log"
        begun = time.monotonic()
        with log.open("w") as file:
            child = subprocess.Popen(list(map(str, jobs[name])), stdout=file, stderr=subprocess.STDOUT)
            _, status, used = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        spent[name] = Spent(time.monotonic() - begun, used.ru_utime + used.ru_stime)
        about = f"{spent[name].wall:.0f} s, {spent[name].cpu:.0f} s of processor time"
        lines = log.read_text(errors="replace").splitlines()
        shown = "\n".join(lines if child.returncode else lines[-1:])
        print(f"== {name}: {about}, {'FAILED' if child.returncode else 'holds'}\n{shown}", flush=True)
        return child.returncode == 0

    with ThreadPoolExecutor(os.cpu_count()) as workers:
        held = dict(zip(jobs, workers.map(one, jobs)))
    return [name for name, good in held.items() if not good]
