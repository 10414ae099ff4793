"""An arm64 Debian 12 root, unpacked and not configured: no arm64 program runs while it is made."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tools import ROOT, SITE, run

PACKAGES = "python3.11,python3-minimal,libpython3.11-dev,libstdc++6,libgomp1,ca-certificates"
# pip takes each name literally, newest glibc first; Debian 12 has 2.36
PLATFORMS = [f"manylinux_2_{v}_aarch64" for v in (36, 35, 34, 28, 27, 17)] + ["manylinux2014_aarch64"]


def unpack_root() -> None:
    """Make ROOT unless it is there."""
    done = ROOT / "opt" / "unpacked"
    if done.exists():
        return
    shutil.rmtree(ROOT, ignore_errors=True)
    ROOT.parent.mkdir(parents=True, exist_ok=True)
    options = ["--mode=root", "--variant=extract", "--architectures=arm64", f"--include={PACKAGES}"]
    run(["mmdebstrap", "--quiet", *options, "bookworm", ROOT])
    done.parent.mkdir(exist_ok=True)
    done.touch()


def install(wheel: Path, extras: str = "cli,test") -> None:
    """The wheel and what it needs, as pip chooses them for Python 3.11 on this platform; nothing is compiled."""
    shutil.rmtree(SITE, ignore_errors=True)
    target = ["--target", SITE, "--no-compile", "--only-binary=:all:"]
    abis = [word for abi in ("cp311", "abi3", "none") for word in ("--abi", abi)]
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    python = ["--python-version", "3.11", "--implementation", "cp"]
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-warn-conflicts"]
    run([*pip, *target, *python, *abis, *platforms, f"{wheel}[{extras}]"])
