"""Seconds of every layer in a whole training step on one thread, and the fraction of the roofline it reaches.

Three passes a layer: forward, backward-input, backward-weight, with whatever is fused into them; passes over maps
(normalisation, activation, pooling) stand apart. The ceilings are measured in the same run. Per operation the model
below gives seconds for each thing that could limit it; the roofline is the largest of `compute`, `L1 load` (one
vector load per FMA), `L2` and `memory`; `limit` names the largest of all, list overhead included.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ceilings import Ceilings, measure_ceilings
from common import arguments, table, write
from ours import Step

from edgecl import _kernels
from edgecl.engine.profile import OperationTime, operation_times

PASSES = {
    "conv": "forward",
    "conv_input": "backward-input",
    "conv_weight": "backward-weight",
    "depth": "forward",
    "point": "forward",
    "depth_backward": "backward, both",
    "point_backward": "backward, both",
}
# Which arguments of a fused depthwise or pointwise convolution are maps: input, output gradient, their norms' inputs.
FUSED = {"depth": (1, 2), "point": (1, 2), "depth_backward": (1, 4, 6, 7, 11), "point_backward": (1, 4, 6, 7, 11)}
MAPS = {  # which arguments of a map pass are maps it moves; a map read and written stands twice
    "stats": (1,),
    "affine": (0, 2, 4),
    "affine_again": (0, 2, 4),
    "mask": (0, 0, 2, 3),
    "norm_input": (1, 2, 3),
    "copy": (0, 1, 2),
    "pool": (0, 1),
    "pool_input": (0, 1),
    "save": (0, 1),
    "restore": (0, 1),
    "split": (1, 2),
    "merge": (1, 2),
    "bias": (1,),
    "norm": (),
    "norm_gradient": (),
}
TILE = 16  # vectors of accumulators in a register tile
MISPREDICT = 20  # cycles at the end of a list
L3 = 32 << 20
KEY = ("net", "batch", "density", "layer", "pass")


def step_seconds(step: Step, steps: int) -> tuple[list[OperationTime], np.ndarray]:
    """The operations, and the median seconds of each over ``steps`` training steps."""
    step()
    spent = []
    before = operation_times(step.engine)
    for _ in range(steps):
        step()
        now = operation_times(step.engine)
        spent.append([b.seconds - a.seconds for a, b in zip(before, now)])
        before = now
    return before, np.median(np.array(spent), axis=0)


class Roofline:
    """Seconds each limit alone would cost an operation of ``step``."""

    def __init__(self, step: Step, ceilings: Ceilings) -> None:
        self.program = step.engine.plan.program["train"]
        self.blocking = step.engine.plan.program["blocking"]
        self.lanes = step.engine.plan.program["lanes"]
        self.blocks = self.program["blocks"]
        self.batch = step.engine.plan.batch
        self.widest = max(_kernels.lanes())
        self.c = ceilings
        self.hertz = ceilings.fma / (4 * self.widest)  # two FMAs of the widest vector a cycle
        self.far = ceilings.bandwidth("l3" if self.program["arena_bytes"] <= L3 else "dram")

    def map_bytes(self, index: int) -> int:
        _, channels, _, _, _, _, rows, columns, item, _ = self.program["maps"][index]
        return self.blocks * channels * rows * columns * self.lanes * item

    def maps(self, operation: tuple[int, list[int]], kind: str) -> dict[str, float]:
        """A pass over maps: bytes only."""
        args = operation[1]
        moved = sum(self.map_bytes(args[i]) for i in MAPS.get(kind, (0, 0)) if args[i] >= 0)
        return {"memory": moved / self.far}

    def fused(self, operation: tuple[int, list[int]], t: OperationTime) -> dict[str, float]:
        """A depthwise or pointwise convolution that reads through normalisations."""
        maps = {operation[1][i] for i in FUSED[t.kind]} - {-1}
        flops = 2.0 * t.macs * self.batch
        return {
            "compute": flops / self.c.fma,
            "L1 load": flops / self.c.l1,
            "memory": sum(map(self.map_bytes, maps)) / self.far,
        }

    def convolution(self, operation: tuple[int, list[int]], t: OperationTime) -> dict[str, float]:
        args = operation[1]
        out, inputs, kh, kw, sh, sw, _, _, groups = t.geometry
        flops = 2.0 * t.macs * self.batch
        weight = t.kind == "conv_weight"
        if t.kind == "conv_input":
            read, written = self.map_bytes(args[1]), self.map_bytes(args[2])
            # the fused mask and sums read the activation and the normalisation's input
            moved = read + written * (2 if args[3] else 1) + sum(self.map_bytes(a) for a in args[6:8] if a >= 0)
            rows, channels, block = inputs, out // groups, self.blocking[t.node][1]
        else:
            read, written = self.map_bytes(args[1]), self.map_bytes(args[2])
            moved = read + written
            rows, channels, block = out, inputs // groups, self.blocking[t.node][0]
        height, width = t.map[1:]
        positions = height * width
        vectors = positions * self.blocks * self.lanes / self.widest  # of one channel of the output grid
        tiles = max(1.0, vectors / min(TILE, max(vectors, 1.0)))
        pieces = -(-channels // block)
        # A 2x8 tile reads its input with the kernel's margin once per block of channels.
        margin = (2 + kh - 1) * (8 + kw - 1) / 16 if positions >= TILE else 1.0
        spatial = read * margin * (sh * sw if t.kind == "conv_input" else 1)
        lists = tiles * rows * pieces * (sh * sw if t.kind == "conv_input" else 1) / groups
        if groups > 1:
            lists = tiles * rows
        moves = TILE * (1 if weight else 2)  # accumulators (or the output gradient) through L1 once per list
        seconds = {
            "compute": flops / self.c.fma,
            "L1 load": flops / self.c.l1,
            "L2": spatial / self.c.bandwidth("l2"),
            "memory": moved / self.far,
            "list overhead": lists * (moves * self.widest * 4 / self.c.bandwidth("l1") + MISPREDICT / self.hertz),
        }
        if weight:  # a vector accumulator per non-zero, read and written per tile
            seconds["list overhead"] += flops / self.c.l1 * 2 / TILE
        return seconds


def measure(net: str, batch: int, density: float, steps: int, ceilings: Ceilings) -> list[dict[str, Any]]:
    step = Step(net, batch, density, threads=1)
    times, seconds = step_seconds(step, steps)
    model = Roofline(step, ceilings)
    operations = [*model.program["forward"], *model.program["backward"]]
    total = float(seconds.sum())
    merged: dict[tuple[str, str], dict[str, Any]] = {}
    for t, operation, spent in zip(times, operations, seconds):
        if t.node:
            name, way = t.node, PASSES[t.kind]
            parts = model.fused(operation, t) if t.kind in FUSED else model.convolution(operation, t)
            flops = 2.0 * t.macs * batch
        else:
            name, way, flops = "maps", t.kind, 0.0
            parts = model.maps(operation, t.kind)
        row = merged.setdefault((name, way), {"seconds": 0.0, "flops": 0.0, "parts": {}, "map": t.map})
        row["seconds"] += max(float(spent), 1e-9)
        row["flops"] += flops
        for limit, value in parts.items():
            row["parts"][limit] = row["parts"].get(limit, 0.0) + value
    rows = []
    for (name, way), row in merged.items():
        roofline = max(v for k, v in row["parts"].items() if k != "list overhead")
        figures = {
            "ms": row["seconds"] * 1e3,
            "share": row["seconds"] / total,
            "gflops": row["flops"] / row["seconds"] / 1e9,
            "of_peak": row["flops"] / row["seconds"] / ceilings.fma,
            "of_roofline": roofline / row["seconds"],
            **{f"{k.replace(' ', '_').lower()}_ms": v * 1e3 for k, v in row["parts"].items()},
        }
        rows.append(
            {
                "net": net,
                "batch": batch,
                "density": density,
                "layer": name,
                "pass": way,
                "map": "x".join(map(str, row["map"])) if name != "maps" else "",
                **{name: float(f"{value:.5g}") for name, value in figures.items()},
                "limit": max(row["parts"], key=lambda k, p=row["parts"]: p[k]),
            }
        )
    return rows


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--nets", nargs="+", default=["resnet18:32", "resnet20:32", "mobilenetv2:32"])
    parser.add_argument("--densities", nargs="+", type=float, default=[0.25, 0.1, 0.05])
    parser.add_argument("--steps", type=int, default=15)
    o = parser.parse_args()
    ceilings = measure_ceilings(_kernels.isa())
    print("ceilings of one core:", {k: f"{v / 1e9:.1f} GFLOP/s" for k, v in ceilings.to_json().items()})
    rows: list[dict[str, Any]] = []
    for item in o.nets[:1] if o.quick else o.nets:
        net, batch = item.split(":")
        for density in o.densities[1:2] if o.quick else o.densities:
            found = measure(net, int(batch), density, 5 if o.quick else o.steps, ceilings)
            table(
                found,
                ("net", "density", "layer", "pass", "map", "ms", "share", "gflops", "of_peak", "of_roofline", "limit"),
            )
            rows += found
    write("layers", rows, o.json, (), KEY, isa=_kernels.isa(), ceilings=ceilings.to_json())


if __name__ == "__main__":
    main()
