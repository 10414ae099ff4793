"""Ceilings of one core, measured: FMA peak and one load per FMA from each level of memory, for a roofline."""

from __future__ import annotations

import ctypes
import platform
import shutil
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

FLAGS = {
    "avx512": ["-mavx512f", "-mavx512vl", "-mfma", "-mprefer-vector-width=512"],
    "avx2": ["-mavx2", "-mfma"],
    "sse2": [],
    "neon": [],
}
SECONDS = 0.2  # per figure


@dataclass(frozen=True)
class Ceilings:
    """FLOP/s of one core: ``fma`` from registers, ``l1`` .. ``dram`` with one vector load per FMA from there.

    Bytes per second of a level are twice its FLOP/s: 4 bytes are loaded for 2 FLOPs.
    """

    fma: float
    l1: float
    l2: float
    l3: float
    dram: float

    def bandwidth(self, level: str) -> float:
        return 2 * getattr(self, level)

    def to_json(self) -> dict[str, float]:
        return asdict(self)


def compiler() -> str | None:
    """Path of a C++ compiler, if there is one."""
    return shutil.which("g++") or shutil.which("c++")


def measure_ceilings(isa: str, seconds: float = SECONDS) -> Ceilings:
    """Compiles ceilings.cpp for ``isa`` and runs it; needs a C++ compiler."""
    program = compiler()
    if program is None:
        raise SystemExit("bench/ceilings.py needs a C++ compiler (g++) to measure the machine's ceilings.")
    source = Path(__file__).with_name("ceilings.cpp")
    with tempfile.TemporaryDirectory() as folder:
        target = f"{folder}/ceilings.so"
        flags = FLAGS[isa] if platform.machine() in ("x86_64", "aarch64") else []
        command = [program, "-O3", "-ffp-contract=fast", "-shared", "-fPIC", *flags, "-o", target, str(source)]
        subprocess.run(command, check=True)
        library = ctypes.CDLL(target)
    for name in ("fma_peak", "load_fma"):
        getattr(library, name).restype = ctypes.c_double
    library.fma_peak.argtypes = [ctypes.c_double]
    library.load_fma.argtypes = [ctypes.c_long, ctypes.c_double]

    def level(bytes_: int) -> float:
        return library.load_fma(bytes_, seconds)

    return Ceilings(library.fma_peak(seconds), level(16 << 10), level(384 << 10), level(6 << 20), level(256 << 20))


if __name__ == "__main__":
    from edgecl import _kernels

    for name, value in measure_ceilings(_kernels.isa()).to_json().items():
        print(f"{name:5s} {value / 1e9:7.1f} GFLOP/s")
