"""Predictions of networks that nothing trains, beside onnxruntime in float32, in turns; and what they keep resident.

Both run one network from a numpy batch of float32 pictures to numpy logits, its batch norms folded: ours by a plan that
only predicts, the peer by the file that `edgecl export` would write. At a density below 1 ours has random masks, the
same in every layer but the first, depthwise ones and the classifier; the peer is dense. ``ratio_median`` is our time
over the peer's. Resident growth is that of a process of its own which has imported the engine, from before the network
was read to after a prediction.

    python bench/prediction.py [--nets ..] [--sizes 96,224] [--batches 1,8] [--quick] [--json FILE]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import arguments, interleave, median, quantile, table, write
from ours import random_masks, random_network, sparse_weights

from edgecl import Network, _kernels
from edgecl.compiler import Optimizer, Plan, compile_plan
from edgecl.engine import Model
from edgecl.engine.native import NativeEngine
from edgecl.graph import Graph
from edgecl.graph.builders import build
from edgecl.graph.exporters.onnx import to_onnx
from edgecl.graph.fold import fold_norms
from edgecl.graph.imagenet import imagenet

Array = np.ndarray
NETS: dict[str, Callable[[int], Graph]] = {
    "mobilenetv2_100": lambda size: imagenet("mobilenetv2_100", size=size),
    "efficientnet_lite0": lambda size: build("efficientnet_lite0", (3, size, size), 1000, input_dtype="float32"),
}
KEY = ("net", "size", "batch", "density", "threads")
DENSITIES = (1.0, 0.1)
FLOORS = {1.0: (1.4, 1.0), 0.1: (0.9, 0.4)}  # of the peer's time: floor and goal
RESIDENT = ("mobilenetv2_100", 224, 1, 1.0, 1)  # the row whose growth has a floor
GROWTH_FLOOR, GROWTH_GOAL = 30_000_000, 22_000_000
GROWN = """
import sys
import numpy as np
from prediction import planned, read
from edgecl.budget.meters import resident
from edgecl.engine.native import NativeEngine
path, batch, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
np.zeros(1) @ np.zeros(1)
before = resident()
graph, model, densities = read(path)
size = graph.shapes[graph.input][-1]
predict = NativeEngine(model, planned(graph, batch, threads, densities)).predictor(batch)
x = np.zeros((batch, 3, size, size), np.float32)
for _ in range(3):
    predict(x)
print(resident() - before)
"""


def folded(net: str, size: int) -> Network:
    """The network with random weights and batch norms folded, as a frozen backbone is."""
    network = random_network(NETS[net](size))
    return Network(*fold_norms(network.graph, network.weights))


def pruned(network: Network, density: float) -> Network:
    """The same network with zeros where weights are dead, for a file."""
    weights = {name: np.array(w) for name, w in network.weights.items()}
    masks = random_masks(network.graph, density, "uniform", np.random.default_rng(1)) if density < 1 else {}
    for name, living in masks.items():
        kept = np.zeros(weights[name].size, np.float32)
        kept[living] = weights[name].reshape(-1)[living]
        weights[name] = kept.reshape(weights[name].shape)
    return Network(network.graph, weights)


def read(path: str) -> tuple[Graph, Model, dict[str, float]]:
    """A network from its file, with the density of each weight; tensors that hold zeros become sparse."""
    network = Network.load(path)
    model, densities = Model.standing(network.graph, network.weights), {}
    for name in sparse_weights(network.graph):
        p = model[name]
        living = np.flatnonzero(p.values).astype(np.int32)
        if living.size < p.values.size:
            p.set_pattern(living)
            densities[name] = living.size / p.spec.size
    return network.graph, model, densities


def planned(graph: Graph, batch: int, threads: int, densities: dict[str, float]) -> Plan:
    return compile_plan(
        graph, batch=batch, predict_batch=batch, densities=densities, optimizer=Optimizer(), threads=threads,
        trains="none", direct=True,
    )  # fmt: skip


def session(path: Path, threads: int) -> Callable[[Array], Array]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # or it takes a core from who comes next
    found = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = found.get_inputs()[0].name
    return lambda x: found.run(None, {name: x})[0]


def measured(net: str, size: int, batch: int, threads: int, rounds: int, folder: Path) -> list[dict[str, Any]]:
    """Rows of every density."""
    network = folded(net, size)
    x = np.random.default_rng(2).uniform(size=(batch, *network.graph.shapes[network.graph.input])).astype(np.float32)
    to_onnx(network.graph, network.weights, folder / "dense.onnx")
    peer = session(folder / "dense.onnx", threads)
    files, calls = {}, {}
    for density in DENSITIES:
        files[density] = str(pruned(network, density).save(folder / f"{density}.edgecl"))
        graph, model, densities = read(files[density])
        calls[density] = NativeEngine(model, planned(graph, batch, threads, densities)).predictor(batch)
    expected, found = peer(x), calls[1.0](x)["logits"]
    difference = float(np.abs(found - expected).max() / np.abs(expected).max())
    contenders = {d: (lambda call=call: call(x)) for d, call in calls.items()} | {"peer": lambda: peer(x)}
    wall, _ = interleave(contenders, rounds)
    import onnxruntime

    rows = []
    for density in DENSITIES:
        ratios = [ours / theirs for ours, theirs in zip(wall[density], wall["peer"])]
        floor, goal = FLOORS[density]
        rows.append({
            "net": net, "size": size, "batch": batch, "density": density, "threads": threads, "isa": _kernels.isa(),
            "peer": f"onnxruntime {onnxruntime.__version__} fp32 dense", "peer_ms": median(wall["peer"]) * 1e3,
            "ours_ms": median(wall[density]) * 1e3, "ratio_median": median(ratios),
            "ratio_iqr": quantile(ratios, 0.75) - quantile(ratios, 0.25), "n": rounds, "floor": floor, "goal": goal,
            "within": median(ratios) <= floor, "rss_growth_bytes": grown(files[density], batch, threads),
            "difference": difference if density == 1 else None,
        })  # fmt: skip
    return rows


def grown(path: str, batch: int, threads: int) -> int:
    """Resident growth of a process that reads the network and predicts."""
    command = [sys.executable, "-c", GROWN, path, str(batch), str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent)
    if done.returncode:
        raise SystemExit(done.stderr[-800:])
    return int(json.loads(done.stdout))


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--nets", nargs="+", default=list(NETS), choices=list(NETS))
    parser.add_argument("--sizes", type=numbers, default=[96, 224])
    parser.add_argument("--batches", type=numbers, default=[1, 8])
    parser.add_argument("--threads", type=numbers, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    rounds = 5 if options.quick else options.rounds
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for net in options.nets:
            for size in options.sizes:
                for batch in options.batches:
                    for threads in options.threads:
                        rows += measured(net, size, batch, threads, rounds, Path(folder))
                        print(f"{net} {size} batch {batch} threads {threads}", file=sys.stderr)
    columns = (*KEY, "peer_ms", "ours_ms", "ratio_median", "floor", "goal", "within", "rss_growth_bytes", "difference")
    table(rows, columns)
    for row in rows:
        if tuple(row[k] for k in KEY) == RESIDENT:
            print(f"resident growth {row['rss_growth_bytes'] / 1e6:.1f} MB (floor {GROWTH_FLOOR / 1e6:.0f}, "
                  f"goal {GROWTH_GOAL / 1e6:.0f})")  # fmt: skip
    write("prediction", rows, options.json, ("onnxruntime",), KEY)


if __name__ == "__main__":
    main()
