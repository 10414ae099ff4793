"""Where a training step spends its time: seconds of every native operation since the engine was planned."""

from __future__ import annotations

from dataclasses import dataclass

from ..compiler import operations as codes
from .native import NativeEngine

KINDS = {
    codes.CONV: "conv",
    codes.STATS: "stats",
    codes.AFFINE: "affine",
    codes.GROUP_NORM: "group_norm",
    codes.COPY: "copy",
    codes.POOL: "pool",
    codes.HALO: "halo",
    codes.AFFINE_AGAIN: "affine_again",
    codes.NORM: "norm",
    codes.DEPTH: "depth",
    codes.POINT: "point",
    codes.SAVE: "save",
    codes.RESTORE: "restore",
    codes.SPLIT: "split",
    codes.CONV_AFFINE: "conv_affine",
    codes.CONV_WEIGHT: "conv_weight",
    codes.CONV_INPUT: "conv_input",
    codes.MASK: "mask",
    codes.NORM_INPUT: "norm_input",
    codes.GROUP_NORM_INPUT: "group_norm_input",
    codes.POOL_INPUT: "pool_input",
    codes.BIAS: "bias",
    codes.NORM_GRADIENT: "norm_gradient",
    codes.DEPTH_BACKWARD: "depth_backward",
    codes.POINT_BACKWARD: "point_backward",
    codes.MERGE: "merge",
}
# Which argument of an operation is the map it writes (or, for gradients of weights and biases, reads).
WRITES = {"conv": 2, "conv_weight": 2, "conv_input": 2, "pool": 1, "halo": 0, "stats": 1, "group_norm": 2, "bias": 1}
WRITES |= {"affine": 0, "affine_again": 0, "copy": 0, "mask": 0, "norm_input": 1, "group_norm_input": 1}
WRITES |= {"save": 0, "restore": 1, "pool_input": 0, "norm": 1, "depth": 2, "point": 2, "split": 2, "merge": 2}
WRITES |= {"conv_affine": 2}
WRITES |= {"norm_gradient": 1, "depth_backward": 1, "point_backward": 1}  # the input: its gradient may not be wanted
LAYERS = ("conv", "depth", "point", "conv_weight", "conv_input", "depth_backward", "point_backward")


@dataclass(frozen=True)
class OperationTime:
    """``seconds`` are cumulative over all training calls. ``node`` is the layer of a convolution, else empty;
    ``geometry`` its (out, in, kernel h, w, stride h, w, padding h, w, groups); ``map`` the (channels, height, width)
    written, or for a weight gradient the output gradient read; ``macs`` those of living weights (of trained ones for
    a weight gradient) per sample, padding zeros included.
    """

    kind: str
    node: str
    geometry: tuple[int, ...]
    map: tuple[int, int, int]
    macs: int
    seconds: float


def operation_times(engine: NativeEngine) -> list[OperationTime]:
    """Every operation of a training step in order, forward then backward; none where the plan trains nothing."""
    train, session = engine.plan.program["train"], engine._session
    if session is None:
        return []
    graph = engine.plan.graph
    layers = [n for n in graph.nodes if n.op in ("conv2d", "linear")]
    out = []
    for backward, operations in ((False, train["forward"]), (True, train["backward"])):
        for (code, args), seconds in zip(operations, session.seconds(backward)):
            kind = KINDS[code]
            row = train["maps"][args[WRITES[kind]]]
            shape = (row[1], row[2], row[3])
            node, macs = "", 0
            geometry: tuple[int, ...] = ()
            if kind in LAYERS:
                layer = layers[args[0]]
                node, geometry = layer.name, tuple(codes.geometry(graph, layer))
                parameter = engine.model[layer.parameters[0]]
                subset = parameter.gradient_subset if kind == "conv_weight" else None
                h, w = codes.as_map(graph.shapes[layer.output])[1:]
                macs = (parameter.living if subset is None else len(subset)) * h * w
                if kind in ("depth_backward", "point_backward"):  # both gradients
                    trained = parameter.gradient_subset
                    macs += (parameter.living if trained is None else len(trained)) * h * w
            out.append(OperationTime(kind, node, geometry, shape, macs, seconds))
    return out
