"""k-FPF (Zhang et al., ICML 2023): forget, then finetune a few parts on the memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ..graph import Graph
from ..options import option
from ..parsing import count, real
from .base import Method
from .context import Context
from .needs import Needs, Passes
from .phase import Phase, cosine
from .step import head_parameters


class KFPF(Method):
    """No replay in the steps; at the end of every ``every``-th task ``steps`` steps on the memory for the parts that
    forget most: classifier, normalisations with their statistics, first convolution.

    The paper spaces k phases evenly over the stream; a device does not know how many tasks come.
    """

    name: ClassVar[str] = "k-fpf"
    scenarios: ClassVar[tuple[str, ...]] = ("task-il", "class-il", "domain-il")
    reference: ClassVar[str] = "Zhang et al., ICML 2023"

    every: int = option(1, count(1), "tasks from one phase to the next")
    steps: int = option(300, count(1), "steps of a phase")
    memory_lr: float = option(0.05, real(0.0, True), "learning rate of a phase, falling by a cosine to 0")

    @property
    def needs(self) -> Needs:
        return Needs(keeps=True, passes=Passes(steps=self.steps / self.every))

    def end_task(self, c: Context) -> Sequence[Phase]:
        if c.memory is None or not c.memory.filled or ((c.task.number or 0) + 1) % self.every:
            return ()
        only = forgetful_parameters(c.engine.model.graph)
        return (Phase("memory", steps=self.steps, lr=cosine(self.memory_lr), only=only),)


def forgetful_parameters(graph: Graph) -> tuple[str, ...]:
    """Names of the classifier's, of all normalisations' and of the first layer's parameters, in graph order."""
    found = set(head_parameters(graph))
    layers = [n for n in graph.nodes if n.op in ("conv2d", "linear")]
    found.update(layers[0].parameters)
    for node in graph.nodes:
        if node.op in ("batch_norm", "group_norm"):
            found.update(node.parameters)
    return tuple(name for name in graph.parameters if name in found)
