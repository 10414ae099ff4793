"""Where a training step spends its time: seconds of every native operation since the engine was planned."""

from __future__ import annotations

from dataclasses import dataclass

from ..compiler import operations as codes
from .native import NativeEngine

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
    layers = codes.weight_nodes(graph)
    out = []
    for backward, operations in ((False, train["forward"]), (True, train["backward"])):
        for (code, args), seconds in zip(operations, session.seconds(backward)):
            kind = codes.KINDS[code]
            row = train["maps"][args[codes.WRITES[code]]]
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
