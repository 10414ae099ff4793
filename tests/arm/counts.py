"""Executed arm64 instructions of the kernels: of convolutions per living weight and output vector, over whole layers;
of other operators per multiply-add or value and vector, forward and the whole backward pass.

A count is exact and does not depend on the load of the machine, so it is gated: `counts.json` holds the committed
figures, and 2 % more fails. Beside it stands what the innermost loops execute for a weight and vector of theirs. What a
layer executes (list pointers, tiles, accumulators and all) may be 1.3x of that from density 0.10 on, 1.35x where a
stride cuts the lists, 1.6x at 0.05.
"""

from __future__ import annotations

import bisect
import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from emulator import emulate_counted, folder
from tools import HERE, REPOSITORY
from wheels import BUILD

FIGURES = HERE / "counts.json"
RESULT = REPOSITORY / "bench" / "results" / "arm_instructions.json"
TOLERANCE = 0.02
# Functions that a convolution consists of; a forward window holds the layer's normalisation too.
PARTS = ("conv_", "run_block", "weight_block", "reduce_vectors", "run_pass", "tile", "Threads", "Partials")
NOT_PARTS = ("each_plane", "Session::")
OPERATOR = "operator "  # how the names of windows begin in which all that the kernels execute is counted
HANDING = ("Session::pack", "Session::unpack", "nanobind")  # arrays of Python's put into lanes and back
BEFORE = ", before it"  # how the passes of what stands before an operator end; they are subtracted
READING = "read<"  # 1x1 layers gather their tiles, and normalise them on the way: a pass over maps, counted apart


@dataclass(frozen=True)
class Count:
    """Of one layer, density and pass. per_vector : instructions per living weight and output vector, everything;
    inner : of the innermost loops alone, which run most of the weights;  ratio : per_vector over inner;
    reading : of gathering the input's tiles, in the unit of per_vector and not in it."""

    layer: str
    density: float
    passed: str
    fused: bool
    per_vector: float
    inner: float
    ratio: float
    reading: float

    @property
    def name(self) -> str:
        return f"{self.layer} | {self.density:g} | {self.passed}{', fused' if self.fused else ''}"

    @property
    def limit(self) -> float | None:
        """Of the ratio; none where batch norm's sums and ReLU's masks are taken along: they are not the lists'; none
        for operators without lists."""
        if self.fused or not self.inner:
            return None
        strided = "stride 2" in self.layer and self.passed == "input gradient"  # four lists, each a quarter as long
        return 1.6 if self.density < 0.1 else 1.35 if strided else 1.3


class Symbols:
    """Functions of a module by address."""

    def __init__(self, module: Path) -> None:
        listing = subprocess.run(["aarch64-linux-gnu-nm", "-CSn", module], capture_output=True, text=True, check=True)
        rows = [line.split(None, 3) for line in listing.stdout.splitlines()]
        functions = [(int(r[0], 16), int(r[1], 16), r[3]) for r in rows if len(r) == 4 and r[2] in "tTwW"]
        if not functions:
            raise SystemExit(f"{module} has no symbols.")
        self.starts = [f[0] for f in functions]
        self.functions = functions

    def at(self, offset: int) -> str:
        i = bisect.bisect_right(self.starts, offset) - 1
        start, size, name = self.functions[i] if i >= 0 else (0, 0, "")
        return name if start <= offset < start + size else ""

    def convolution(self, offset: int) -> bool:
        name = self.at(offset)
        return any(p in name for p in PARTS) and not any(p in name.split("::run<")[-1] for p in NOT_PARTS)

    def of_operators(self, offset: int) -> bool:
        name = self.at(offset)
        return bool(name) and not any(p in name for p in HANDING)


def measure(names: Sequence[str] = ()) -> list[Count]:
    """Runs `layers.py` under the counting plugin; ``names`` of layers and operators, all where there are none."""
    work = folder("windows")
    for old in work.glob("w.*"):
        old.unlink()
    done = emulate_counted("cortex-a53", ["-P", HERE / "layers.py", *names], work / "w", capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    (module,) = (BUILD / "kernels").glob("_kernels*.so")
    symbols = Symbols(module)
    counts: list[Count] = []
    before: dict[tuple[str, str], int] = {}
    for number, w in enumerate(found["windows"]):
        operator = str(w["layer"]).startswith(OPERATOR)
        counted = symbols.of_operators if operator else symbols.convolution
        executed, words, reading = read_window(work / f"w.{number}", found["base"], symbols, counted)
        total = sum(executed.values())
        if operator and str(w["pass"]).endswith(BEFORE):
            before[w["layer"], str(w["pass"]).removesuffix(BEFORE)] = total
            continue
        if operator:
            own = total - before[w["layer"], w["pass"]]
            counts.append(Count(w["layer"], 1.0, w["pass"], False, round(own / w["work"], 4), 0.0, 0.0, 0.0))
            continue
        loops = innermost(executed, words)
        vectors = sum(executed[at] for at in loops if is_vector_fma(words[at]))
        inner, per_vector = sum(executed[at] for at in loops) / vectors, total / w["work"]
        about = (w["layer"], w["density"], w["pass"], w["fused"])
        figures = (round(per_vector, 4), round(inner, 4), round(per_vector / inner, 3), round(reading / w["work"], 4))
        counts.append(Count(*about, *figures))
    return counts


def read_window(
    path: Path, base: int, symbols: Symbols, counted: Callable[[int], bool]
) -> tuple[Counter[int], dict[int, int], int]:
    """(executions, instruction word) by offset in the module, of what is ``counted``, and what reading took."""
    executed: Counter[int] = Counter()
    words: dict[int, int] = {}
    reading = 0
    for line in path.read_text().splitlines():
        times, address, *code = line.split()
        offset = int(address, 16) - base
        for i, word in enumerate(code):
            at = offset + 4 * i
            if counted(at):
                executed[at] += int(times)
                words[at] = int(word, 16)
            elif READING in symbols.at(at):
                reading += int(times)
    return executed, words, reading


def innermost(executed: Counter[int], words: dict[int, int]) -> set[int]:
    """Offsets in the innermost loops that multiply and add vectors: code that ends in a conditional branch to its
    beginning, all of it run about equally often."""
    found: set[int] = set()
    for last, word in words.items():
        first = last + condition_offset(word)
        body = range(first, last + 4, 4)
        times = [executed[at] for at in body]
        if times and min(times) > 0.8 * max(times) and any(is_vector_fma(words[at]) for at in body):
            found.update(body)
    return found


def condition_offset(word: int) -> int:
    """Bytes from a conditional branch to its target; 0 for anything else."""
    if word >> 24 == 0x54 or (word >> 25) & 0x3F == 0x1A:  # b.cond, cbz, cbnz
        bits, size = (word >> 5) & 0x7FFFF, 19
    elif (word >> 25) & 0x3F == 0x1B:  # tbz, tbnz
        bits, size = (word >> 5) & 0x3FFF, 14
    else:
        return 0
    return 4 * (bits - (1 << size) if bits >> (size - 1) else bits)


def is_vector_fma(word: int) -> bool:
    """fmla of four floats, by vector or by element."""
    return word & 0xFFE0FC00 == 0x4E20CC00 or word & 0xFFC0F400 == 0x4F801000


def table(counts: list[Count]) -> str:
    lines = [f"{'layer | density | pass':60} {'per vector':>10} {'inner':>7} {'ratio':>6} {'reading':>7}"]
    lines += [f"{c.name:60} {c.per_vector:10.3f} {c.inner:7.3f} {c.ratio:6.3f} {c.reading:7.3f}" for c in counts]
    return "\n".join(lines)


def failures(counts: list[Count], committed: dict[str, float]) -> list[str]:
    """What is more than the committed figures and limits allow."""
    found = []
    for c in counts:
        before = committed.get(c.name)
        if before is None:
            found.append(f"{c.name}: no committed figure")
        elif c.per_vector > before * (1 + TOLERANCE):
            found.append(f"{c.name}: {c.per_vector:.4f} instructions a vector, committed {before:.4f}")
        if c.limit is not None and c.ratio > c.limit:
            found.append(f"{c.name}: {c.ratio:.2f}x of the inner loop's own, at most {c.limit}x")
    missing = committed.keys() - {c.name for c in counts}
    return found + [f"{name}: committed, but not measured" for name in sorted(missing)]


def record(counts: list[Count]) -> dict[str, object]:
    """What is committed beside the figures: the highest ratio by density, and every row."""
    versions = {
        name: subprocess.run([name, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
        for name in ("aarch64-linux-gnu-g++", "qemu-aarch64")
    }
    judged = [c for c in counts if c.limit is not None]
    highest = {f"{d:g}": max(c.ratio for c in judged if c.density == d) for d in sorted({c.density for c in judged})}
    return {
        "bench": "arm_instructions",
        "command": "python tests/arm counts --update",
        "date": time.strftime("%Y-%m-%d"),
        "processor": "cortex-a53, emulated",
        "versions": versions,
        "highest_ratio_by_density": highest,
        "rows": [asdict(c) for c in counts],
    }


def gate(update: bool = False) -> None:
    """Measure, print, and compare with the committed figures; ``update`` writes new ones first, and the record."""
    counts = measure()
    print(table(counts))
    (folder("counts") / "counts.json").write_text(json.dumps([asdict(c) for c in counts], indent=1))
    figures = {c.name: c.per_vector for c in counts}
    if update:
        FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
        RESULT.write_text(json.dumps(record(counts), indent=1) + "\n")
    committed = json.loads(FIGURES.read_text())
    found = failures(counts, committed)
    lower = [n for n, v in figures.items() if n in committed and v < committed[n] * (1 - TOLERANCE)]
    if lower:
        print(f"{len(lower)} figures fell by more than 2 %: keep that with  python tests/arm counts --update")
    if found:
        raise SystemExit("instruction counts:\n  " + "\n  ".join(found))
    print(f"{len(counts)} counts within {TOLERANCE:.0%} of the committed ones")
