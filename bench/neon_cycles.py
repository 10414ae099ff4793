"""Cycles of the NEON inner loops by llvm-mca, on the cores of the device profiles.

kernels/isa.cpp is compiled for aarch64 and the innermost loop (one non-zero weight on one register tile) of the main
kernels is cut out of the assembly. llvm-mca runs it as if it repeated for ever with every load a hit in L1. The
efficiency is the share of the core's FMA peak (the profiles' flop_per_cycle, measured by others) that the loop reaches;
the mean over the 2x8 and 4x4 tiles stands in the profiles as `modelled` (kernels.forward_loop, kernels.weight_loop).
It ranks cores and finds regressions; it is within a factor of 2, not better. Needs aarch64-linux-gnu-g++ and llvm-mca
(apt-get install llvm-19).

--feed writes both figures, with mark and source, into every device profile; --check fails where a profile holds others.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomllib
from common import arguments, table, write

ROOT = Path(__file__).parents[1]
PROFILES = ROOT / "device_profiles"
COMPILER = "aarch64-linux-gnu-g++"
MCA = "llvm-mca-19"  # releases differ: the Neoverse N1 of 14 takes 1.7 times the cycles
FLAGS = ["-std=c++17", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi",
         "-DEDGECL_ISA=neon", "-DEDGECL_WIDEST=4", "-DEDGECL_LARGEST_TILE=16"]  # fmt: skip
# core model of llvm-mca -> FLOP a cycle at the FMA peak
CORES = {"cortex-a53": 8, "cortex-a55": 8, "cortex-a72": 8, "neoverse-n1": 16}


@dataclass(frozen=True)
class Stand:
    """What a core's figures come from: efficiencies of ``model``, times ``share``; ``why`` goes into the source."""

    model: str
    why: str
    share: float = 1.0


_N1 = Stand("neoverse-n1", "model of the Neoverse N1, the A76 of servers")
_X1 = Stand(
    "neoverse-n1", "model of the Neoverse N1, times 0.75: three loads for four FMA pipes, against two for two", 0.75
)
# fastest core of a profile, by the beginning of its name, longest first
STANDS = {
    "Cortex-A53": Stand("cortex-a53", "model of the Cortex-A53"),
    "Cortex-A55": Stand("cortex-a55", "model of the Cortex-A55"),
    "Cortex-A57": Stand("cortex-a72", "model of the Cortex-A57 (which llvm takes for the A72 too)"),
    "Cortex-A72": Stand("cortex-a72", "model of the Cortex-A57 (which llvm takes for the A72 too)"),
    "Cortex-A7": _N1,  # A76, A77, A78, A78AE, A715
    "Cortex-X": _X1,
    "Denver 2": Stand("cortex-a72", "model of the Cortex-A57, the other kind of core on the chip"),
}
LOOPS = ("forward", "weight")
CLOSE = 0.02  # of the FMA peak: what another compiler may change
KERNELS = {
    "forward 2x8": "conv_block<4, 2, 8, 1, 0>",
    "forward 4x4": "conv_block<4, 4, 4, 1, 0>",
    "forward 1x16": "conv_block<4, 1, 16, 1, 0>",
    "run 16": "run_block<4, 16>",
    "weight 2x8": "weight_block<4, 2, 8, 1, false>",
    "weight 4x4": "weight_block<4, 4, 4, 1, false>",
    "weight 1x16": "weight_block<4, 1, 16, 1, false>",
    "weight run 16": "weight_block<4, 1, 16, 1, true>",
}
ITERATIONS = 500


def assembly() -> dict[str, list[str]]:
    """Lines of every function of kernels/isa.cpp by demangled name."""
    command = [COMPILER, *FLAGS, "-S", str(ROOT / "kernels" / "isa.cpp"), "-o", "-"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    text = subprocess.run(["c++filt"], input=text, capture_output=True, text=True, check=True).stdout
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in text.splitlines():
        name = re.match(r"^(?!\.L)(\S.*):$", line)
        if name:
            current = found.setdefault(name[1], [])
        elif current is not None:
            current.append(line.strip())
    return found


def inner_loop(lines: list[str]) -> list[str]:
    """The instructions of the loop without a branch inside that holds most multiply-adds."""
    labels = {line[:-1]: i for i, line in enumerate(lines) if re.match(r"^\.L\w+:$", line)}
    best: list[str] = []
    for i, line in enumerate(lines):
        jump = re.match(r"^(?:b\.?\w*|cbn?z|tbn?z)\s.*?(\.L\w+)$", line)
        if not jump or labels.get(jump[1], len(lines)) >= i:
            continue
        body = [x for x in lines[labels[jump[1]] + 1 : i] if x and not x.startswith((".", "//", "#"))]
        if not body or any(re.match(r"^(?:b\.?\w{0,2}|cbn?z|tbn?z)\s", x) for x in body):
            continue
        if sum(map(multiply_add, body)) > sum(map(multiply_add, best)):
            best = [*body, "b.ne 0"]
    return best


def multiply_add(line: str) -> bool:
    return line.startswith(("fmla", "fmls"))


def cycles(code: list[str], core: str, mca: str) -> float:
    """Cycles of one pass of ``code``."""
    command = [mca, "-mtriple=aarch64-linux-gnu", f"-mcpu={core}", f"-iterations={ITERATIONS}"]
    code = [re.sub(r"\.L\w+$", "0", line) for line in code]
    done = subprocess.run(command, input="\n".join(code) + "\n", capture_output=True, text=True, check=True)
    found = re.search(r"Total Cycles:\s+(\d+)", done.stdout)
    assert found is not None
    return int(found[1]) / ITERATIONS


def measure(mca: str) -> list[dict]:
    functions = assembly()
    rows = []
    for kernel, name in KERNELS.items():
        body = next(lines for full, lines in functions.items() if name in full)
        loop = inner_loop(body)
        count = sum(map(multiply_add, loop))
        if not count:
            raise SystemExit(f"no inner loop found in {name}")
        for core, flops in CORES.items():
            spent, least = cycles(loop, core, mca), count * 8 / flops
            rows.append({
                "kernel": kernel, "core": core, "instructions": len(loop), "multiply_adds": count,
                "cycles": spent, "cycles_at_peak": least, "efficiency": least / spent,
            })  # fmt: skip
    return rows


def stand_for(core: str) -> Stand:
    """The model of a profile's core."""
    names = [name for name in STANDS if core.startswith(name)]
    if not names:
        raise SystemExit(f"no core model stands for '{core}'; name one in STANDS")
    return STANDS[max(names, key=len)]


def loops_of(core: str, rows: Sequence[Mapping[str, Any]], simulator: str) -> dict[str, dict[str, Any]]:
    """{forward_loop, weight_loop}: figures of a profile whose fastest core is ``core``."""
    stand = stand_for(core)
    tool = simulator.replace("-", " ").replace("llvm mca", "llvm-mca")
    source = f"bench/neon_cycles.py: {tool}, {stand.why}, loads hit L1; within a factor of 2"
    found = {}
    for loop in LOOPS:
        tiles = (f"{loop} 2x8", f"{loop} 4x4")
        values = [r["efficiency"] for r in rows if r["core"] == stand.model and r["kernel"] in tiles]
        value = round(stand.share * sum(values) / len(values), 2)
        found[f"{loop}_loop"] = {"value": value, "mark": "modelled", "source": source}
    return found


def fastest_core(profile: Mapping[str, Any]) -> str:
    """The core of the cluster that the cost model uses first."""
    return max(profile["clusters"], key=lambda c: c["ghz"]["value"] * c["flop_per_cycle"]["value"])["core"]


def feed(rows: Sequence[Mapping[str, Any]], simulator: str, folder: Path = PROFILES) -> list[str]:
    """Write the loops into every profile of ``folder``; the names of those that changed."""
    changed = []
    for path in sorted(folder.glob("*.toml")):
        text = before = path.read_text()
        for name, figure in loops_of(fastest_core(tomllib.loads(text)), rows, simulator).items():
            fields = ", ".join(f"{k} = {json.dumps(v)}" for k, v in figure.items())
            line = f"{name} = {{ {fields} }}"
            text, count = re.subn(rf"^{name} = .*$", lambda _: line, text, flags=re.M)  # noqa: B023
            if count != 1:
                raise SystemExit(f"{path.name} holds {name} {count} times")
        if text != before:
            path.write_text(text)
            changed.append(path.name)
    return changed


def differences(rows: Sequence[Mapping[str, Any]], simulator: str) -> list[str]:
    """Figures of the shipped profiles that are further than `CLOSE` from what was measured."""
    found = []
    for path in sorted(PROFILES.glob("*.toml")):
        profile = tomllib.loads(path.read_text())
        for name, figure in loops_of(fastest_core(profile), rows, simulator).items():
            held = profile["kernels"][name]
            if held["mark"] != "modelled" or abs(held["value"] - figure["value"]) > CLOSE + 1e-9:
                found.append(f"{path.stem}: {name} is {held['value']}, the loops now give {figure['value']}")
    return found


def main() -> int:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--feed", action="store_true", help="write the loops into the device profiles")
    parser.add_argument("--check", action="store_true", help="fail where a profile holds other figures")
    options = parser.parse_args()
    if any(shutil.which(program) is None for program in (MCA, COMPILER)):
        sys.exit(f"missing: {COMPILER}, {MCA}\n  try: apt-get install g++-aarch64-linux-gnu llvm-19")
    rows = measure(MCA)
    table(rows, ("kernel", "core", "instructions", "multiply_adds", "cycles", "efficiency"))
    compiler = subprocess.run([COMPILER, "--version"], capture_output=True, text=True).stdout.splitlines()[0]
    write("neon_cycles", rows, options.json, simulator=MCA, compiler=compiler)
    if options.feed:
        print(f"changed: {', '.join(feed(rows, MCA)) or 'nothing'}")
    found = differences(rows, MCA) if options.check else []
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
