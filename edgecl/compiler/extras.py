"""Extras: what a plan holds beside the logits and one set of trained parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import BadInput, unknown_name
from ..graph import Graph

TRAINS = ("all", "head", "none")


@dataclass(frozen=True)
class Extras:
    """All of it is counted in the plan's memory.

    fetch : tensors that a training forward returns, the logits always;  predict_fetch : those of a prediction or an
        evaluation forward. ``features`` is the classifier's input
    sides : names of parameter sets beside the model (a teacher, an average)
    per_weight : names of float32 arrays per living trained weight
    gradient_copies : flat gradients that a method keeps beside the engine's
    trains : ``all``; ``head``, the classifier alone: the body runs as in a prediction and has no gradients, optimizer
        state or kept activations; ``none``: no backward pass at all, nothing but predictions
    """

    fetch: tuple[str, ...] = ("logits",)
    predict_fetch: tuple[str, ...] = ("logits",)
    sides: tuple[str, ...] = ()
    per_weight: tuple[str, ...] = ()
    gradient_copies: int = 0
    trains: str = "all"

    def __post_init__(self) -> None:
        for field in ("fetch", "predict_fetch", "sides", "per_weight"):
            names = getattr(self, field)
            object.__setattr__(self, field, _names(field, (names,) if isinstance(names, str) else names))
        if self.gradient_copies < 0:
            raise BadInput(f"gradient_copies is {self.gradient_copies}.", "Use a number of at least 0.")
        if self.trains not in TRAINS:
            raise unknown_name("value of trains", self.trains, TRAINS)


def _names(field: str, names: Sequence[str]) -> tuple[str, ...]:
    for name in names:
        if not isinstance(name, str) or not name or "/" in name:
            raise BadInput(f"'{name}' in {field} is no name.", "Use plain names without '/'.")
    return tuple(dict.fromkeys(names))


def fetched_tensors(graph: Graph, names: Sequence[str]) -> tuple[str, ...]:
    """The graph's tensors behind ``names``, the logits first; raises `BadInput` on one that cannot be fetched."""
    tensors = dict.fromkeys([graph.logits, *(graph.tensor(n) for n in names)])
    made = [n.output for n in graph.nodes]
    for tensor in tensors:
        if tensor not in made:
            raise unknown_name("tensor to fetch", tensor, made)
    return tuple(tensors)


def trained_parameters(graph: Graph, trains: str = "all") -> tuple[str, ...]:
    """Names of the parameters that get a gradient, in graph order: the order of the flat gradient.

    ``head``: those of the nodes behind the features, and those that reach the logits without any sample (the rows of a
    cosine head). Raises `BadInput` where a batch norm is among them: it would need statistics of a training pass.
    """
    if trains == "none":
        return ()
    trained = [n for n, p in graph.parameters.items() if p.trained]
    if trains == "all":
        return tuple(trained)
    behind = {graph.features}
    for node in graph.nodes:
        if not behind.isdisjoint(node.inputs):
            behind.add(node.output)
    beside = {graph.input}  # what follows from samples but not from the features
    head: set[str] = set()
    for node in graph.nodes:
        if node.output not in behind and not beside.isdisjoint(node.inputs):
            beside.add(node.output)
    needed = {graph.logits}
    for node in reversed(graph.nodes):
        if node.output in needed and node.output not in beside and node.output != graph.features:
            needed.update(node.inputs)
            head.update(node.parameters)
            if node.op == "batch_norm":
                raise BadInput(
                    f"The classifier of '{graph.name}' holds the batch norm '{node.name}'.",
                    "Plan with trains='all', or use a network whose classifier has none.",
                )
    return tuple(n for n in trained if n in head)
