"""GraphBuilder: appends nodes by name and keeps shapes; the only way graphs are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..errors import BadInput, EdgeclError
from .graph import Graph, Node, ParameterSpec, Shape
from .registry import operator


class GraphBuilder:
    """Builds a `Graph` node by node.

    >>> g = GraphBuilder("tiny", (1, 28, 28), "uint8")
    >>> x = g.add("normalise", [g.input], name="input_norm", mean=[0.13], std=[0.31], pad=0)
    >>> x = g.add("conv2d", [x], name="conv1", out=8, kernel=[3, 3], stride=[1, 1], padding=[1, 1], groups=1,
    ...           bias=False, prunable=True)
    """

    def __init__(self, name: str, input_shape: Shape, input_dtype: str = "uint8") -> None:
        if input_dtype not in ("uint8", "float32"):
            raise BadInput(f"Input dtype '{input_dtype}' is not supported.", "Use uint8 or float32.")
        self.name = name
        self.input = "input"
        self.input_dtype = input_dtype
        self.shapes: dict[str, Shape] = {self.input: tuple(input_shape)}
        self.nodes: list[Node] = []
        self.parameters: dict[str, ParameterSpec] = {}
        self.notes: dict[str, Any] = {}

    def add(
        self, op: str, inputs: list[str], *, name: str, prunable: bool = False, share: Mapping[str, str] | None = None,
        **attributes: Any,
    ) -> str:  # fmt: skip
        """Append one node; returns the name of its output tensor (the node's name).

        share : parameters of earlier nodes to use, by the local name they have in both: one array, gradients summed
        """
        if name in self.shapes:
            raise BadInput(f"Two nodes of graph '{self.name}' are called '{name}'.", "Give each node its own name.")
        entry = operator(op, name)
        attributes = {**entry.optional_attributes, **attributes}
        shapes = [self.shapes[i] for i in inputs]
        try:
            output = entry.shape(shapes, attributes)
        except EdgeclError as error:
            raise type(error)(f"At '{name}': {error.cause}", error.remedy) from error
        specs = entry.parameters(shapes, attributes)
        names = {local: (share or {}).get(local, f"{name}.{local}") for local in specs}
        for local, spec in specs.items():
            full = names[local]
            if share and local in share:
                self._check_shared(full, local, spec)
                continue
            self.parameters[full] = replace(spec, name=full, prunable=prunable and spec.role == "weight")
        self.nodes.append(Node(op, name, tuple(inputs), name, tuple(names.values()), attributes))
        self.shapes[name] = tuple(output)
        return name

    def _check_shared(self, full: str, local: str, spec: ParameterSpec) -> None:
        found = self.parameters.get(full)
        if found is None or found.shape != spec.shape or full.rpartition(".")[2] != local:
            raise BadInput(
                f"The parameter '{full}' cannot be shared as '{local}' of shape {spec.shape}.",
                "Share a parameter of the same shape and local name.",
            )

    @classmethod
    def on(cls, graph: Graph, tensor: str) -> GraphBuilder:
        """A builder that goes on from ``tensor`` of a graph: it holds what that depends on, and the graph's notes."""
        g = cls(graph.name, graph.input_shape, graph.input_dtype)
        g.input, needed = graph.input, {tensor}
        for node in reversed(graph.nodes):
            if node.output in needed:
                needed.update(node.inputs)
                g.nodes.insert(0, node)
        g.shapes = {k: s for k, s in graph.shapes.items() if k in needed or k == graph.input}
        used = {p for n in g.nodes for p in n.parameters}
        g.parameters = {k: p for k, p in graph.parameters.items() if k in used}
        g.notes = dict(graph.notes)
        return g

    def build(self, logits: str) -> Graph:
        """The finished graph, which ends in the tensor ``logits``."""
        return Graph(
            self.name,
            self.input,
            self.input_dtype,
            logits,
            tuple(self.nodes),
            dict(self.shapes),
            dict(self.parameters),
            dict(self.notes),
        )
