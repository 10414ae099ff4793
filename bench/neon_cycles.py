"""Cycles of the NEON inner loops by llvm-mca, on the cores of the device profiles.

kernels/isa.cpp is compiled for aarch64 and the innermost loop (one non-zero weight on one register tile) of the main
kernels is cut out of the assembly. llvm-mca runs it as if it repeated for ever with every load a hit in L1. The
efficiency is the share of the core's FMA peak (the profiles' flop_per_cycle, measured by others) that the loop reaches;
the mean over the 2x8 and 4x4 tiles stands in the profiles as `modelled` (kernels.forward_loop, kernels.weight_loop).
It ranks cores and finds regressions; it is within a factor of 2, not better. Needs aarch64-linux-gnu-g++ and llvm-mca
(apt-get install llvm-19).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from common import arguments, table, write

ROOT = Path(__file__).parents[1]
COMPILER = "aarch64-linux-gnu-g++"
FLAGS = ["-std=c++17", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi",
         "-DEDGECL_ISA=neon", "-DEDGECL_WIDEST=4", "-DEDGECL_LARGEST_TILE=16"]  # fmt: skip
# core model of llvm-mca -> FLOP a cycle at the FMA peak, cores of profiles that it stands for
CORES = {
    "cortex-a53": (8, ("Cortex-A53",)),
    "cortex-a55": (8, ("Cortex-A55", "Cortex-A510")),
    "cortex-a72": (8, ("Cortex-A57", "Cortex-A72")),  # llvm uses its model of the A57 for both
    "neoverse-n1": (16, ("Cortex-A76", "Cortex-A77", "Cortex-A78", "Cortex-A78AE", "Cortex-A715")),
}
KERNELS = {
    "forward 2x8": "conv_block<4, 2, 8, 1, true>",
    "forward 4x4": "conv_block<4, 4, 4, 1, true>",
    "forward 1x16": "conv_block<4, 1, 16, 1, true>",
    "weight 2x8": "weight_block<4, 2, 8, 1>",
    "weight 4x4": "weight_block<4, 4, 4, 1>",
    "weight 1x16": "weight_block<4, 1, 16, 1>",
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
    """The instructions of the loop without a loop inside that holds most multiply-adds."""
    labels = {line[:-1]: i for i, line in enumerate(lines) if re.match(r"^\.L\w+:$", line)}
    best: list[str] = []
    for i, line in enumerate(lines):
        jump = re.match(r"^(?:b\.?\w*|cbn?z|tbn?z)\s.*?(\.L\w+)$", line)
        if not jump or labels.get(jump[1], len(lines)) >= i:
            continue
        body = [x for x in lines[labels[jump[1]] + 1 : i] if x and not x.startswith((".", "//", "#"))]
        if not body or any(re.match(r"^b\s", x) for x in body):
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
        for core, (flops, stands_for) in CORES.items():
            spent, least = cycles(loop, core, mca), count * 8 / flops
            rows.append({
                "kernel": kernel, "core": core, "instructions": len(loop), "multiply_adds": count,
                "cycles": spent, "cycles_at_peak": least, "efficiency": least / spent,
                "stands_for": list(stands_for),
            })  # fmt: skip
    return rows


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    options = parser.parse_args()
    mca = next((m for m in ("llvm-mca-19", "llvm-mca-16", "llvm-mca") if shutil.which(m)), None)
    if mca is None or shutil.which(COMPILER) is None:
        sys.exit(f"Needs {COMPILER} and llvm-mca: apt-get install g++-aarch64-linux-gnu llvm-19")
    rows = measure(mca)
    table(rows, ("kernel", "core", "instructions", "multiply_adds", "cycles", "efficiency"))
    compiler = subprocess.run([COMPILER, "--version"], capture_output=True, text=True).stdout.splitlines()[0]
    for core, (_, stands_for) in CORES.items():
        for loop in ("forward", "weight"):
            found = [
                r["efficiency"] for r in rows if r["core"] == core and r["kernel"] in (f"{loop} 2x8", f"{loop} 4x4")
            ]
            print(f"{', '.join(stands_for)}: kernels.{loop}_loop = {sum(found) / len(found):.2f}")
    write("neon_cycles", rows, options.json, simulator=mca, compiler=compiler)


if __name__ == "__main__":
    main()
