"""Wheels for PyPI's manylinux: built here, stripped, tagged with the oldest glibc their symbols allow.

The tag is what `auditwheel` finds in the symbols, never less. libstdc++ is the system's: linked in, it would ask for a
newer glibc than it does as a library.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tools import HERE, OUT, REPOSITORY, ROOT, run

WHEELS = REPOSITORY / "out" / "wheels"
LIMIT = 5_000_000  # bytes
SUFFIX = ".cpython-311-aarch64-linux-gnu.so"
BUILD = OUT / "build"  # the aarch64 modules with their symbols stay here


def build_aarch64() -> Path:
    """The tagged aarch64 wheel in WHEELS. Its modules are stripped; those in BUILD keep their symbols."""
    environment = {"ARM_ROOT": str(ROOT), "SETUPTOOLS_EXT_SUFFIX": SUFFIX, "_PYTHON_HOST_PLATFORM": "linux-aarch64"}
    settings = {
        "build-dir": BUILD,
        "install.strip": "true",
        # nanobind strips a Release at link time
        "cmake.build-type": "RelWithDebInfo",
        "cmake.define.CMAKE_CXX_FLAGS_RELWITHDEBINFO": "-O3 -DNDEBUG",
        "cmake.define.CMAKE_TOOLCHAIN_FILE": HERE / "aarch64.cmake",
        "cmake.define.Python_INCLUDE_DIR": ROOT / "usr" / "include" / "python3.11",
    }
    return _build("aarch64", environment, settings)


def build_x86_64() -> Path:
    """The tagged x86-64 wheel in WHEELS, for the Python that runs this."""
    return _build("x86_64", {}, {"build-dir": REPOSITORY / "out" / "build-x86_64"})


def _build(machine: str, environment: dict[str, str], settings: dict[str, object]) -> Path:
    work = REPOSITORY / "out" / f"wheel-{machine}"
    shutil.rmtree(work, ignore_errors=True)
    chosen = [word for name, value in settings.items() for word in ("-C", f"{name}={value}")]
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", work]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # cmake and ninja of this environment
    run([*pip, *chosen, REPOSITORY], env={**environment, "PATH": path})
    (built,) = work.glob("*.whl")
    tag = platform_tag(built)
    run([sys.executable, "-m", "wheel", "tags", "--remove", "--platform-tag", tag, built], stdout=subprocess.DEVNULL)
    (tagged,) = work.glob("*.whl")
    size = tagged.stat().st_size
    print(f"{tagged.name}: {size / 1e6:.2f} MB")
    if size > LIMIT:
        raise SystemExit(f"{tagged.name} has {size} bytes, more than {LIMIT}.")
    WHEELS.mkdir(parents=True, exist_ok=True)
    for old in WHEELS.glob(f"*{machine}.whl"):
        old.unlink()
    return Path(shutil.move(tagged, WHEELS / tagged.name))


def built(machine: str) -> Path:
    """The wheel of that machine that was built last."""
    (found,) = WHEELS.glob(f"*{machine}.whl")
    return found


def platform_tag(wheel: Path) -> str:
    """The most compatible manylinux tag that the wheel's symbols allow, as `auditwheel show` says."""
    done = run([sys.executable, "-m", "auditwheel", "show", wheel], capture_output=True, text=True)
    found = re.search(r"platform tag:\s+\"(manylinux_\d+_\d+_\w+)\"", done.stdout)
    if found is None:
        raise SystemExit(f"auditwheel names no manylinux tag for {wheel.name}:\n{done.stdout}")
    return found[1]


def check_install(wheel: Path) -> None:
    """The wheel installs in a fresh environment without a compiler on PATH, and works from another folder."""
    environment = REPOSITORY / "out" / "wheel-venv"
    shutil.rmtree(environment, ignore_errors=True)
    run([sys.executable, "-m", "venv", environment])
    path = {"PATH": str(environment / "bin")}
    found = [p for p in ("gcc", "cc", "g++", "cmake", "ninja") if shutil.which(p, path=path["PATH"])]
    if found:
        raise SystemExit(f"the environment has a compiler: {found}")
    python = environment / "bin" / "python"
    run([python, "-m", "pip", "install", "-q", "--only-binary=:all:", f"{wheel}[cli]"], env=path)
    run([python, "-c", USE], env=path, cwd=environment)
    run([environment / "bin" / "edgecl", "--help"], env=path, cwd=environment, stdout=subprocess.DEVNULL)


# A layer trained for a step and a record through the store: both native modules work.
USE = """
import tempfile
import numpy as np
from edgecl import Learner
x = np.random.default_rng(0).integers(0, 255, (32, 1, 12, 12), dtype=np.uint8)
with tempfile.TemporaryDirectory() as folder:
    with Learner("mlp", input_shape=(1, 12, 12), method="er", memory=16, store=folder + "/store") as learner:
        learner.observe(x, np.arange(32) % 2).wait()
        learner.learn(steps=2)
        learner.predict(x[:4])
from edgecl import _kernels
print("works:", _kernels.isa(), _kernels.lanes())
"""
