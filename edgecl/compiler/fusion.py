"""Which nodes run as one operation: [batch norm] [+ batch norm or tensor] [activation] becomes one pass.

Activations that the kernels of convolutions know are part of it. Any other function of one tensor is applied to its
output in place: where its derivative needs the input, only if that can be made again from normalisations alone.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from ..graph import Graph, Node
from .operation_table import UNARY
from .primitives import Each, derivatives

ACTIVATIONS = {"relu": 1, "relu6": 2}
AFFINE = {"batch_norm", "add", *ACTIVATIONS}  # of an expanded graph, where these have whole inputs of one shape


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
    function: Each | None = None  # an activation beyond those of the kernels, applied in place

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(t.tensor for t in self.terms) if self.kind == "affine" else self.node.inputs


def from_output(function: str) -> bool:
    """Does the derivative of a function of one tensor follow from its output?"""
    rule = derivatives(function)[0]
    return rule is not None and "y" in rule[1]


def own_function(node: Node) -> Each | None:
    """The function of one whole tensor that a node is, if it is one with a derivative."""
    parts: tuple[Any, ...] = node.attributes.get("parts", ()) if node.op == "each" else ()
    if len(parts) != 1 or not isinstance(parts[0], Each):
        return None
    part = parts[0]
    plain = len(part.sources) == 1 and not part.sources[0].parameter and part.out.plain and part.sources[0].view.plain
    if not plain or part.add or part.fill is not None or part.function not in UNARY or part.function == "identity":
        return None
    return part if derivatives(part.function)[0] is not None else None


def fuse(graph: Graph, fetch: Collection[str], again: bool = True) -> list[Unit]:
    """Units in execution order. A fetched tensor is never fused away. ``again``: may passes be made once more?"""
    producer = {n.output: n for n in graph.nodes}
    consumers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            consumers.setdefault(name, []).append(node)

    def absorbed(node: Node) -> bool:
        users = consumers.get(node.output, [])
        if len(users) != 1 or node.output in fetch:
            return False
        if node.op not in ("batch_norm", "add"):
            return False
        if users[0].op in ACTIVATIONS or (node.op == "batch_norm" and users[0].op == "add"):
            return True
        part = own_function(users[0])
        return part is not None and (from_output(part.function) or (again and normed(node)))

    def normed(node: Node) -> bool:
        """Does it follow from normalisations alone?"""
        if node.op == "batch_norm":
            return True
        return all(term(i).norm is not None for i in node.inputs)

    def term(name: str) -> Term:
        node = producer.get(name)
        if node is not None and node.op == "batch_norm" and absorbed(node):
            return Term(node.inputs[0], node)
        return Term(name)

    units = []
    for node in graph.nodes:
        function = own_function(node)
        if function is not None:
            before = producer.get(node.inputs[0])
            if before is None or not absorbed(before):
                function = None
        if node.op not in AFFINE and function is None:
            units.append(Unit(node.op, node.output, node))
            continue
        if absorbed(node):
            continue
        activation = ACTIVATIONS.get(node.op, 0)
        core: Node | None = node
        if activation or function is not None:
            before = producer.get(node.inputs[0])
            core = before if before is not None and before.op in ("add", "batch_norm") and absorbed(before) else None
        if core is None:
            terms: tuple[Term, ...] = (Term(node.inputs[0]),)
        elif core.op == "batch_norm":
            terms = (Term(core.inputs[0], core),)
        else:
            # Batch norms first: their backward still needs the gradient that a plain summand may take over.
            terms = tuple(sorted((term(i) for i in core.inputs), key=lambda t: t.norm is None))
        units.append(Unit("affine", node.output, node, terms, activation, function))
    return units
