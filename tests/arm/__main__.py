"""`python tests/arm STAGE...`: builds for arm64 and runs there without arm64 hardware. See docs/arm.md.

make        all of the next five, as many at a time as there are processors
suite       the core tests on the oldest processor, those of compiled code on two later ones (--cpu: on one)
demo        `edgecl demo --slice` on the oldest processor
counts      executed instructions of the hot kernels against the committed ones (--update writes new ones)
boot        a whole system with 512 MB runs the slice with the demo's own memory plan
service     such a system with systemd: `edgecl serve` installed, used, killed, hung, stopped (make boot-test)
cycles      the inner loops on models of the cores (llvm-mca) against the device profiles
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
import service_boot
import suite
import wheels
from root import install, unpack_root
from tools import OUT, Spent, require, side_by_side, stage

STAGES = ["make", "suite", "demo", "counts", "boot", "service", "cycles", "full", "wheels"]
# What `make` runs side by side, the longest first
JOBS = {
    **{
        f"suite {cpu} {part}": ["suite", "--cpu", cpu, "--part", part]
        for cpu, parts in suite.SHARES.items()
        for part in parts
    },
    "boot": ["boot"],
    "counts": ["counts"],
    "demo": ["demo"],
    "cycles": ["cycles"],
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python tests/arm", description=__doc__.splitlines()[0])
    parser.add_argument("stages", nargs="+", choices=STAGES, metavar="STAGE", help=", ".join(STAGES))
    parser.add_argument("--update", action="store_true", help="counts: keep what was measured as the committed figures")
    parser.add_argument("--cpu", choices=suite.CPUS, action="append", help="suite: on these processors")
    parser.add_argument("--part", choices=suite.PARTS, action="append", help="suite: these parts of it")
    parser.add_argument("--built", action="store_true", help="the root and the wheel are in place")
    o = parser.parse_args()
    require()
    spent: dict[str, Spent] = {}
    begun = time.monotonic()
    OUT.mkdir(parents=True, exist_ok=True)
    if not o.built:
        with stage("root", spent):
            unpack_root()
        with stage("wheel", spent):
            install(wheels.build_aarch64())
    failed = []
    for name in o.stages:
        if name == "make":
            demo.take_data()
            here = [sys.executable, __file__.removesuffix("/__main__.py"), "--built"]
            failed += side_by_side({job: [*here, *words] for job, words in JOBS.items()}, spent)
            continue
        with stage(name, spent):
            if name == "counts":
                counts.gate(o.update)
            elif name == "suite":
                suite.run_suite(o.cpu or suite.CPUS, o.part)
            elif name == "demo":
                demo.run_slice()
            elif name == "boot":
                machine.run_slice()
            elif name == "service":
                service_boot.look(wheels.built("aarch64"))
            elif name == "cycles":
                suite.check_cycles()
            elif name == "full":
                demo.run_whole()
            elif name == "wheels":
                wheels.check_install(wheels.build_x86_64())
                suite.check_import()
    print("\n".join(f"{name:24} {s.wall:6.0f} s {s.cpu:6.0f} s of processor time" for name, s in spent.items()))
    if failed:
        raise SystemExit(f"arm64: failed: {', '.join(failed)}")
    if not o.built:
        print(f"arm64: all of it holds, {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
