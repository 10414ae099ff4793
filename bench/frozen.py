"""What a frozen layer costs: ResNet-18 (CIFAR stem) with its first three stages frozen, beside all of it learning.

FLOPs that were executed against a count by hand, seconds of a step measured in turns against the cost model of this
machine (`edgecl devices calibrate` first, or --calibrate), and the peak of a process that holds numpy, the engine and
the plan against that plan, with what every plan of a run counts for the allocator's slack.

    python bench/frozen.py [--batches 8,32] [--densities 1,0.1] [--calibrate] [--json FILE]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
from common import Neighbours, arguments, interleave, median, table, write
from memory import BARE, SETTLED, peak_of

from edgecl.compiler import compile_plan
from edgecl.devices import CostModel, load_profile, operations
from edgecl.devices.calibration.steps import OPTIMIZER
from edgecl.engine import Model
from edgecl.engine.native import NativeEngine
from edgecl.graph import Graph
from edgecl.graph.builders import build
from edgecl.graph.freeze import freeze_below
from edgecl.methods.losses import cross_entropy
from edgecl.planning.memory import other_bytes

BELOW = "s3b2_out"
SLACK, SHARE = 1_000_000, 0.05
PREPARE = """
import json, sys
import numpy as np
from frozen import made
which, rows, density = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
engine = made(which, rows, density)
json.dump(engine.plan.to_json(), open("plan.json", "w"))
state = {name: a for name, a in engine.model.state().items() if "/moment/" not in name}
json.dump(list(state), open("names.json", "w"))
for i, a in enumerate(state.values()):
    np.save(f"{i}.npy", a)
np.random.default_rng(0).normal(size=(rows, *engine.plan.graph.input_shape)).astype(np.float32).tofile("x.bin")
"""


def networks() -> dict[str, Graph]:
    whole = build("resnet18", (3, 32, 32), 10, input_dtype="float32")
    return {"whole": whole, "frozen": freeze_below(whole, BELOW)}


def made(which: str, rows: int, density: float) -> NativeEngine:
    """An engine whose block convolutions have random patterns of ``density``, frozen or not."""
    graphs, rng = networks(), np.random.default_rng(0)
    model, sparse = Model(graphs[which], rng), graphs["whole"].prunable() if density < 1 else ()
    for name in sparse:
        size = model[name].spec.size
        model[name].set_pattern(np.sort(rng.choice(size, round(size * density), replace=False)))
    densities = dict.fromkeys(sparse, density)
    return NativeEngine(model, compile_plan(graphs[which], batch=rows, densities=densities, optimizer=OPTIMIZER))


def step_of(engine: NativeEngine) -> Callable[[], None]:
    graph, rng = engine.plan.graph, np.random.default_rng(0)
    x = rng.normal(size=(engine.plan.batch, *graph.input_shape)).astype(np.float32)
    y = rng.integers(0, graph.classes, len(x))

    def step() -> None:
        logits = engine.forward({graph.input: x})["logits"]
        engine.backward({"logits": cross_entropy(logits, y)[1]})
        engine.step(0.01)

    return step


def by_hand(frozen: bool, living: dict[str, int], rows: int) -> tuple[int, int]:
    """(forward, backward) FLOPs of a step, layer by layer: weights that live, output positions, passes backward."""
    layers = [("stem", 3 * 64 * 9, 32 * 32)]
    width, side = 64, 32
    for stage in range(1, 5):
        out = 64 * 2 ** (stage - 1)
        side = side // 2 if stage > 1 else side
        for block in (1, 2):
            layers.append((f"s{stage}b{block}_conv1", width * out * 9, side * side))
            layers.append((f"s{stage}b{block}_conv2", out * out * 9, side * side))
            if width != out:
                layers.append((f"s{stage}b{block}_short", width * out, side * side))
            width = out
    layers.append(("logits", 512 * 10, 1))
    # gradient of weights and of the input; none of a frozen layer; the first that learn have no input gradient
    backward = {name: 2 for name, _, _ in layers}
    first = ("s4b1_conv1", "s4b1_short") if frozen else ("stem",)
    if frozen:
        backward |= {name: 0 for name, _, _ in layers if name == "stem" or name.startswith(("s1", "s2", "s3"))}
    backward |= dict.fromkeys(first, 1)
    flops = {name: 2 * living.get(f"{name}.weight", weights) * positions * rows for name, weights, positions in layers}
    return sum(flops.values()), sum(flops[name] * times for name, times in backward.items())


def executed(which: str, batch: int, density: float) -> dict[str, Any]:
    engine = made(which, batch, density)
    step_of(engine)()
    living = {n: p.living for n, p in engine.model.parameters.items()}
    meters = engine.meters
    counted = by_hand(which == "frozen", living, batch)
    return {"executed": [meters.forward_flops, meters.backward_flops], "by_hand": list(counted)}


def peak(which: str, batch: int, density: float) -> dict[str, Any]:
    here = sys.path[0]
    assert BARE.count("baseline = resident()") == 1
    with tempfile.TemporaryDirectory() as folder:
        prepare = f"import sys; sys.path.insert(0, {here!r})\n{PREPARE}"
        words = [sys.executable, "-P", "-c", prepare, which, str(batch), str(density)]
        subprocess.run(words, cwd=folder, check=True)
        train = BARE.replace("baseline = resident()", SETTLED)
        high, printed = peak_of([sys.executable, "-P", "-c", train, "train"], folder)
    found = json.loads(printed)
    planned, growth = found["planned"] - found["baseline"] + other_bytes(networks()[which]), high - found["baseline"]
    return {
        "planned_bytes": planned, "measured_bytes": growth,
        "bytes_within": abs(planned - growth) <= SHARE * growth + SLACK,
    }  # fmt: skip


def seconds(batch: int, density: float, rounds: int) -> list[dict[str, Any]]:
    """Both networks in turns: medians of wall and processor time, and what the cost model says."""
    profile, graphs = load_profile("host"), networks()
    steps = {which: step_of(made(which, batch, density)) for which in graphs}
    with Neighbours() as others:
        wall, cpu = interleave(steps, rounds)
    found = []
    for which, graph in graphs.items():
        densities = dict.fromkeys(graphs["whole"].prunable(), density)
        cost = CostModel(profile, 1).step(operations(graph, batch, "train", densities))
        found.append({
            "net": which, "batch": batch, "density": density, "ms": 1e3 * median(wall[which]),
            "cpu_ms": 1e3 * median(cpu[which]), "planned_ms": 1e3 * cost.seconds, "band": list(cost.band),
            "others_share": round(others.share, 3),
        })  # fmt: skip
    for row in found:
        row["share"] = row["cpu_ms"] / found[0]["cpu_ms"]
        row["planned_share"] = row["planned_ms"] / found[0]["planned_ms"]
    return found


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--batches", default="8,32")
    parser.add_argument("--densities", default="1,0.1")
    parser.add_argument("--calibrate", action="store_true", help="measure this machine for the cost model first")
    options = parser.parse_args()
    if options.calibrate:
        from edgecl.devices.calibration.machine import calibrate

        calibrate(say=lambda text: print(f"measuring: {text}", file=sys.stderr))
    rows = []
    for batch in map(int, options.batches.split(",")):
        for density in map(float, options.densities.split(",")):
            for row in seconds(batch, density, 3 if options.quick else 9):
                which = str(row["net"])
                row |= {**executed(which, batch, density), **peak(which, batch, density)}
                row["flops_equal"] = bool(np.array_equal(row["executed"], row["by_hand"]))
                rows.append(row)
    table(rows, ("net", "batch", "density", "ms", "cpu_ms", "planned_ms", "share", "planned_share", "flops_equal",
                 "planned_bytes", "measured_bytes", "bytes_within"))  # fmt: skip
    write("frozen", rows, options.json)


if __name__ == "__main__":
    main()
