"""Sparse prediction against a dense model in onnxruntime, one thread each, in turns.

Both run the same architecture in float32 from a numpy batch to numpy logits. The dense peer is the torch network in
evaluation mode exported to ONNX, with all of onnxruntime's graph optimisations (batch norm folded). Ours predicts on
the caller's thread alone.
"""

from __future__ import annotations

import io

import numpy as np
from common import arguments, interleave, median, quantile, table, write
from ours import random_masks
from samples import SAMPLE, SAMPLES

from edgecl import _kernels
from edgecl.compiler import Optimizer, compile_plan
from edgecl.engine import Model
from edgecl.engine.native import NativeEngine
from edgecl.graph.builders import build

NETS = ("resnet18", "resnet20", "mobilenetv2")
KEY = ("net", "batch", "density")


def ours(net: str, batch: int, density: float, x: np.ndarray):
    """A call that predicts ``x``."""
    rng = np.random.default_rng(0)
    shape, classes = SAMPLES.get(net, SAMPLE)
    graph = build(net, shape, classes, input_dtype="float32")
    masks = random_masks(graph, density, "uniform", rng)

    def prune(p) -> None:
        if p.spec.name in masks:
            p.set_pattern(masks[p.spec.name])

    model = Model(graph, rng, prune)
    densities = {name: m.size / model[name].spec.size for name, m in masks.items()}
    plan = compile_plan(graph, batch=batch, densities=densities, optimizer=Optimizer())
    predict = NativeEngine(model, plan).predictor(batch)
    return lambda: predict(x)


def dense_session(net: str, x: np.ndarray):
    """A call that runs the dense network on ``x`` in onnxruntime."""
    import onnxruntime
    import torch
    from torch_nets import NETS as TORCH_NETS

    torch.manual_seed(0)
    model = TORCH_NETS[net]().eval()
    file = io.BytesIO()
    torch.onnx.export(model, (torch.from_numpy(x),), file, input_names=["x"], dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x})


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--nets", nargs="+", default=list(NETS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--density", type=float, default=0.1)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    rounds = 5 if options.quick else options.rounds
    rows = []
    for net in options.nets:
        for batch in options.batches:
            shape, _ = SAMPLES.get(net, SAMPLE)
            x = np.random.default_rng(1).normal(size=(batch, *shape)).astype(np.float32)
            contenders = {"ours": ours(net, batch, options.density, x), "dense": dense_session(net, x)}
            wall, _ = interleave(contenders, rounds)
            ratios = [p / o for p, o in zip(wall["dense"], wall["ours"])]
            rows.append(
                {
                    "net": net,
                    "batch": batch,
                    "density": options.density,
                    "threads": 1,
                    "isa": _kernels.isa(),
                    "peer": "onnxruntime dense",
                    "peer_ms": median(wall["dense"]) * 1e3,
                    "ours_ms": median(wall["ours"]) * 1e3,
                    "ratio_median": median(ratios),
                    "ratio_iqr": quantile(ratios, 0.75) - quantile(ratios, 0.25),
                    "n": rounds,
                }
            )
    table(rows)
    write("inference", rows, options.json, ("torch", "onnx", "onnxruntime"), KEY)


if __name__ == "__main__":
    main()
