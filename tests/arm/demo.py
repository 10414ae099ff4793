"""`edgecl demo` in the emulated Python. Its resident set holds the emulator too, 35 to 170 MB of it, so the limit is
raised here; `machine.py` runs the slice under the true one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from emulator import emulate, folder
from tools import OUT, REPOSITORY

RAM = "400MB"


def take_data() -> None:
    """The demo's data in the emulated Python's cache; its form does not depend on the processor."""
    target = OUT / "cache" / "data" / "mnist5k"
    if target.exists():
        return
    own = os.environ.get("EDGECL_CACHE") or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "edgecl"
    target.parent.mkdir(parents=True, exist_ok=True)
    if (Path(own) / "data" / "mnist5k" / "meta.json").exists():
        shutil.copytree(Path(own) / "data" / "mnist5k", target)
    # else the emulated Python fetches it


def run_slice() -> None:
    """2 tasks of 200 samples, 2 epochs, on the oldest processor; every claim but accuracy must hold."""
    take_data()
    out = folder("demo")
    emulate("cortex-a53", ["-P", "-m", "edgecl", "demo", "--slice", "--ram", RAM, "--out", out], cwd=OUT)


def run_whole() -> None:
    """The whole demo; its output goes to bench/results/arm_full.log."""
    take_data()
    out = folder("demo-full")
    log = REPOSITORY / "bench" / "results" / "arm_full.log"
    begun = time.monotonic()
    with subprocess.Popen(["tee", log], stdin=subprocess.PIPE) as tee:
        print(f"cortex-a53 emulated on {os.cpu_count()} cores of x86-64: edgecl demo --ram {RAM}", file=sys.stderr)
        options = {"stdout": tee.stdin, "stderr": subprocess.STDOUT, "cwd": OUT}
        emulate("cortex-a53", ["-P", "-m", "edgecl", "demo", "--ram", RAM, "--out", out], **options)
        assert tee.stdin is not None
        tee.stdin.write(f"\nwhole demo: {time.monotonic() - begun:.0f} s of wall time under emulation\n".encode())
