"""What a method takes beyond plain training of the same network, by the planner's own figures."""

from __future__ import annotations

from typing import NamedTuple

from ..config import Config
from ..intake.spec import SampleSpec
from ..methods import METHODS, Method
from ..network import resolve_network
from .configured import configured_method, trains_at
from .costs import step_costs
from .memory import planned

SHAPE, CLASSES, BATCH, SAMPLES = (1, 28, 28), 10, 32, 1000  # of the stream that figures are for


class Extra(NamedTuple):
    """bytes : beyond naive training, its memory of samples included;  flops : of a step, likewise. Both of the second
    task on, and negative where a head is solved instead of trained.
    """

    bytes: int
    flops: int


def extra_of(name: str) -> Extra:
    """Of the method called ``name`` with its defaults: the default cnn, 28x28 grey images, 10 classes, batch 32."""
    (ours, ours_flops), (plain, plain_flops) = _figures(name), _figures("naive")
    return Extra(ours - plain, ours_flops - plain_flops)


def _figures(name: str) -> tuple[int, int]:
    config = Config.make({"method": name, "network": "cnn", "batch": BATCH})
    spec = SampleSpec(SHAPE, "uint8", "image", (0.0,), (255.0,))
    graph = resolve_network(config.network, spec, CLASSES, config.norm).graph
    method: Method = configured_method(config)
    trains = trains_at(method.needs, False)
    growth = planned(config, graph, method, spec, SAMPLES, trains)[1]
    return sum(growth.values()), int(sum(c.flops for c in step_costs(config, graph, method)))


def names() -> tuple[str, ...]:
    """Every method that can be asked for, those of installed packages among them."""
    return METHODS.names()
