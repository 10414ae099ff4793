"""`python tests/arm STAGE...`: builds for arm64 and runs there without arm64 hardware. See docs/arm.md.

make        everything below but full, wheels and cycles
suite       the core tests on three processors
demo        `edgecl demo --slice` on the oldest processor
counts      executed instructions of the hot kernels against the committed ones (--update writes new ones)
boot        a whole system with 512 MB runs the slice with the demo's own memory plan
cycles      the inner loops on models of three cores (llvm-mca)
full        the whole demo, emulated: hours
wheels      both manylinux wheels, built and tried
"""

from __future__ import annotations

import argparse
import sys
import time

import counts
import demo
import machine
import suite
import wheels
from root import install, unpack_root
from tools import OUT, require, stage

STAGES = ["make", "suite", "demo", "counts", "boot", "cycles", "full", "wheels"]
MAKE = ["counts", "suite", "demo", "boot"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python tests/arm", description=__doc__.splitlines()[0])
    parser.add_argument("stages", nargs="+", choices=STAGES, metavar="STAGE", help=", ".join(STAGES))
    parser.add_argument("--update", action="store_true", help="counts: keep what was measured as the committed figures")
    o = parser.parse_args()
    stages = [s for given in o.stages for s in (MAKE if given == "make" else [given])]
    require()
    seconds: dict[str, float] = {}
    begun = time.monotonic()
    OUT.mkdir(parents=True, exist_ok=True)
    with stage("root", seconds):
        unpack_root()
    with stage("wheel", seconds):
        wheel = wheels.build_aarch64()
        install(wheel)
    for name in stages:
        with stage(name, seconds):
            if name == "counts":
                counts.gate(o.update)
            elif name == "suite":
                suite.run_suite()
            elif name == "demo":
                demo.run_slice()
            elif name == "boot":
                machine.run_slice()
            elif name == "cycles":
                suite.check_cycles()
            elif name == "full":
                demo.run_whole()
            elif name == "wheels":
                wheels.check_install(wheels.build_x86_64())
                suite.check_import()
    print("\n".join(f"{name:8} {spent:6.0f} s" for name, spent in seconds.items()))
    print(f"arm64: all of it holds, {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
