"""Cycles of the innermost loops on models of three cores, by llvm-mca: what the compiled code could reach if every
operand came from L1. Says where a kernel is bound; absolute times need a board."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import asdict, dataclass

from emulator import folder
from wheels import BUILD

# core: multiply-adds of four floats it can begin a cycle, as measured on boards (device_profiles, flop_per_cycle / 8)
CORES = {"cortex-a53": 1, "cortex-a72": 1, "neoverse-n1": 2}  # the last stands for the Cortex-A76
LOOPS = {
    "conv 2x8": "conv_block<4, 2, 8, 1, true>",
    "conv 4x4": "conv_block<4, 4, 4, 1, true>",
    "conv 2x8, stride 2": "conv_block<4, 2, 8, 2, true>",
    "weight gradient 2x8": "weight_block<4, 2, 8, 1>",
    "weight gradient 4x4": "weight_block<4, 4, 4, 1>",
}


@dataclass(frozen=True)
class Cycles:
    """One loop on one core. vectors : multiply-adds of four floats in the loop;  efficiency : of the core's peak."""

    loop: str
    core: str
    instructions: int
    vectors: int
    cycles: float
    efficiency: float


def report() -> None:
    if shutil.which("llvm-mca") is None:
        raise SystemExit("llvm-mca is missing\n  try: apt-get install -y --no-install-recommends llvm")
    (module,) = (BUILD / "kernels").glob("_kernels*.so")
    code = subprocess.run(
        ["aarch64-linux-gnu-objdump", "-dC", "--no-show-raw-insn", module], capture_output=True, text=True, check=True
    ).stdout
    rows = []
    for loop, function in LOOPS.items():
        body = innermost(code, function)
        vectors = sum(line.startswith("fmla") for line in body)
        for core, peak in CORES.items():
            cycles = cycles_of(body, core)
            rows.append(Cycles(loop, core, len(body), vectors, cycles, round(vectors / cycles / peak, 3)))
    print(f"{'loop':22} {'core':12} {'instructions':>12} {'vectors':>8} {'cycles':>7} {'of peak':>8}")
    for r in rows:
        print(f"{r.loop:22} {r.core:12} {r.instructions:12} {r.vectors:8} {r.cycles:7.1f} {r.efficiency:8.1%}")
    (folder("counts") / "cycles.json").write_text(json.dumps([asdict(r) for r in rows], indent=1))


def innermost(code: str, function: str) -> list[str]:
    """The instructions of the longest run that ends in a conditional branch to its start and holds fmla."""
    start = code.index(f"{function}(edgecl::")
    text = code[start : code.index("\n\n", start)]
    lines = re.findall(r"^ +([0-9a-f]+):\s+(.*)$", text, re.M)
    places = {address: i for i, (address, _) in enumerate(lines)}
    best: list[str] = []
    for i, (_, instruction) in enumerate(lines):
        back = re.match(r"(?:b\.\w+|cbn?z|tbn?z)\s.*?\b([0-9a-f]+) <", instruction)
        if back is None or back[1] not in places or places[back[1]] >= i:
            continue
        body = [text.split("//")[0].strip() for _, text in lines[places[back[1]] : i + 1]]
        branches = sum(re.match(r"(b|b\.\w+|cbn?z|tbn?z)\s", line) is not None for line in body)
        if branches == 1 and sum(line.startswith("fmla") for line in body) > sum(b.startswith("fmla") for b in best):
            best = body
    if not best:
        raise SystemExit(f"{function}: no innermost loop was found")
    return best


def cycles_of(body: list[str], core: str) -> float:
    """Cycles of one iteration, of a thousand after one another."""
    source = "\n".join(re.sub(r"\b[0-9a-f]+ <.*>", "0", line) for line in body) + "\n"
    command = ["llvm-mca", "-mtriple=aarch64-linux-gnu", f"-mcpu={core}", "-iterations=1000"]
    done = subprocess.run([*command, "-instruction-info=0", "-resource-pressure=0"], input=source, text=True,
                          capture_output=True, check=False)  # fmt: skip
    found = re.search(r"Total Cycles:\s+(\d+)", done.stdout)
    if found is None:
        raise SystemExit(f"llvm-mca: {done.stderr}")
    return int(found[1]) / 1000
