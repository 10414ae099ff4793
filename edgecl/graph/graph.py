"""Graph: an immutable list of nodes over named tensors. Shapes are static but for the batch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Shape = tuple[int, ...]


@dataclass(frozen=True)
class ParameterSpec:
    """One named parameter of a node.

    ``role`` is ``weight``, ``bias``, ``scale``, ``shift`` (of a normalisation), ``statistic`` (running mean
    or variance: not trained) or ``constant`` (never changes).
    ``init`` is ``kaiming_uniform`` (torch's default for conv and linear, needs ``fan_in``), ``bias_uniform``,
    ``ones`` or ``zeros``. ``prunable`` marks the tensors that are sparse by
    default (SparCL 1.2: the block convolutions; stem, shortcuts, normalisation and classifier stay dense).
    ``frozen`` marks what stays as it is: no gradient, and statistics that no batch moves.
    Weights of conv2d have shape [out, in/groups, kh, kw], of linear [out, in].
    """

    name: str
    shape: Shape
    role: str
    init: str
    fan_in: int = 0
    prunable: bool = False
    frozen: bool = False

    @property
    def size(self) -> int:
        """Number of weights, living or not."""
        return math.prod(self.shape)

    @property
    def trained(self) -> bool:
        """Whether a step changes the parameter."""
        return self.role not in ("statistic", "constant") and not self.frozen

    def to_json(self) -> dict[str, Any]:
        """A plain form; ``frozen`` stands in it where it holds."""
        plain = {**self.__dict__, "shape": list(self.shape)}
        return plain if self.frozen else {k: v for k, v in plain.items() if k != "frozen"}


@dataclass(frozen=True)
class Node:
    """One operator application: ``output = op(*inputs; parameters, attributes)``."""

    op: str
    name: str
    inputs: tuple[str, ...]
    output: str
    parameters: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """Nodes in execution order. ``shapes`` maps every tensor to its shape without the batch:
    (C, H, W) for maps (a window of a 1-D signal is (C, 1, W)), (F,) for vectors.

    ``input`` is the one fed tensor, of ``input_dtype`` ``uint8`` or ``float32``; the first node normalises
    it.
    ``logits`` is the classifier's output, ``features`` its input: the two names that methods fetch by.
    """

    name: str
    input: str
    input_dtype: str
    logits: str
    nodes: tuple[Node, ...]
    shapes: Mapping[str, Shape]
    parameters: Mapping[str, ParameterSpec]
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def input_shape(self) -> Shape:
        """Shape of a sample, without the batch."""
        return self.shapes[self.input]

    @property
    def classes(self) -> int:
        """Number of head units."""
        return self.shapes[self.logits][0]

    @property
    def features(self) -> str:
        """The classifier's input: what ``notes`` say, else the input of the last layer with weights before the
        logits.
        """
        noted = self.notes.get("features")
        if noted in self.shapes:
            return str(noted)
        makers = {n.output: n for n in self.nodes}
        tensor = self.logits
        while tensor in makers:
            node = makers[tensor]
            tensor = node.inputs[0]
            if any(self.parameters[p].role == "weight" for p in node.parameters):
                break
        return tensor

    def tensor(self, name: str) -> str:
        """The tensor called ``name``; ``logits`` and ``features`` stand for the classifier's output and input."""
        if name == "logits":
            return self.logits
        return self.features if name == "features" else name

    def prunable(self) -> tuple[str, ...]:
        """Names of the weight tensors that are sparse by default, in graph order."""
        return tuple(p.name for p in self.parameters.values() if p.prunable)

    def to_json(self) -> dict[str, Any]:
        """A plain form for plans and checkpoints; `from_json` reads it back."""
        return {
            "name": self.name,
            "input": self.input,
            "input_dtype": self.input_dtype,
            "logits": self.logits,
            "nodes": [
                {
                    "op": n.op,
                    "name": n.name,
                    "inputs": list(n.inputs),
                    "output": n.output,
                    "parameters": list(n.parameters),
                    "attributes": dict(n.attributes),
                }
                for n in self.nodes
            ],
            "shapes": {k: list(v) for k, v in self.shapes.items()},
            "parameters": [p.to_json() for p in self.parameters.values()],
            "notes": dict(self.notes),
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Graph:
        """The graph of a plain form that `to_json` wrote."""
        return Graph(
            name=data["name"],
            input=data["input"],
            input_dtype=data["input_dtype"],
            logits=data["logits"],
            nodes=tuple(
                Node(
                    n["op"],
                    n["name"],
                    tuple(n["inputs"]),
                    n["output"],
                    tuple(n["parameters"]),
                    n["attributes"],
                )
                for n in data["nodes"]
            ),
            shapes={k: tuple(v) for k, v in data["shapes"].items()},
            parameters={p["name"]: ParameterSpec(**{**p, "shape": tuple(p["shape"])}) for p in data["parameters"]},
            notes=data["notes"],
        )
