"""Which nodes run as one operation: [batch norm] [+ batch norm or tensor] [activation] becomes one pass."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ..graph import Graph, Node

ACTIVATIONS = {"relu": 1, "relu6": 2}
AFFINE = {"batch_norm", "add", *ACTIVATIONS}


@dataclass(frozen=True)
class Term:
    """One summand: a tensor, through a batch norm when ``norm`` is given."""

    tensor: str
    norm: Node | None = None


@dataclass(frozen=True)
class Unit:
    """What runs as one operation. ``kind`` is ``affine`` or the operator's name; ``output`` its tensor."""

    kind: str
    output: str
    node: Node
    terms: tuple[Term, ...] = ()
    activation: int = 0

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(t.tensor for t in self.terms) if self.kind == "affine" else self.node.inputs


def fuse(graph: Graph, fetch: Collection[str]) -> list[Unit]:
    """Units in execution order. A fetched tensor is never fused away."""
    producer = {n.output: n for n in graph.nodes}
    consumers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            consumers.setdefault(name, []).append(node)

    def absorbed(node: Node) -> bool:
        users = consumers.get(node.output, [])
        if len(users) != 1 or node.output in fetch:
            return False
        if node.op == "batch_norm":
            return users[0].op in ACTIVATIONS or users[0].op == "add"
        return node.op == "add" and users[0].op in ACTIVATIONS

    def term(name: str) -> Term:
        node = producer.get(name)
        if node is not None and node.op == "batch_norm" and absorbed(node):
            return Term(node.inputs[0], node)
        return Term(name)

    units = []
    for node in graph.nodes:
        if node.op not in AFFINE:
            units.append(Unit(node.op, node.output, node))
            continue
        if absorbed(node):
            continue
        activation = ACTIVATIONS.get(node.op, 0)
        core: Node | None = node
        if activation:
            before = producer.get(node.inputs[0])
            core = before if before is not None and before.op in ("add", "batch_norm") and absorbed(before) else None
        if core is None:
            terms: tuple[Term, ...] = (Term(node.inputs[0]),)
        elif core.op == "batch_norm":
            terms = (Term(core.inputs[0], core),)
        else:
            # Batch norms first: their backward still needs the gradient that a plain summand may take over.
            terms = tuple(sorted((term(i) for i in core.inputs), key=lambda t: t.norm is None))
        units.append(Unit("affine", node.output, node, terms, activation))
    return units
