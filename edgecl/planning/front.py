"""What a front changes in a plan: the samples' form, the stream, bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..backbones import BACKBONES, backbone_name, network_of
from ..budget.meters import settled
from ..choices import TAIL
from ..config import Config
from ..data import KeptSource, MappedSource, SampleSource, Stream, Task
from ..errors import BadInput
from ..folders import cache_path
from ..fronts import FRONTS, ROWS, Backbone, Front
from ..intake.front import FrontInUse
from ..intake.spec import SampleSpec
from ..network import Network, resolve_network
from ..storage.sets import distinct

Array = np.ndarray
CALIBRATION = 256  # training samples whose mean and spread stand for those of all


def configured_front(
    name: str, options: Mapping[str, Any], raw: SampleSpec, given: Any = None, room: int | None = None
) -> FrontInUse | None:
    """The front called ``name``, for raw samples of ``raw``; None where that is ``none``.

    given : what the option was given as: a `Front` is used as it is, with its state
    room : bytes that a budget of RAM leaves it. Raises `BadInput`
    """
    if name == "none":
        return None
    return FrontInUse(given if isinstance(given, Front) else FRONTS.get(name)(**options), raw, room)


def front_of_run(config: Config, stream: Stream, given: Any) -> FrontInUse | None:
    """The front of a run over ``stream``; ``given``: what the option was given as."""
    room = room_for(config.ram, of_process=True)
    return configured_front(config.front, config.of("front"), raw_spec(stream), given, room)


def with_backbone(options: Mapping[str, Any]) -> dict[str, Any]:
    """``options`` with a backbone that is given as a `Network` as the front that it makes."""
    found = dict(options)
    if not isinstance(found.get("backbone"), Network):
        return found
    of = {"model": "backbone", "cut": "cut", "latent": "latent", "executor": "executor", "size": "backbone_size"}
    taken = {name: found.pop(option) for name, option in of.items() if found.get(option) is not None}
    if found.get("front") not in (None, "none"):
        raise BadInput("A backbone was given beside another front.", "Give one of them.")
    return {**found, "front": Backbone(**taken)}


def backbone_form(options: Mapping[str, Any]) -> tuple[tuple[int, ...], str] | None:
    """(shape, dtype) of samples that the backbone among ``options`` takes; None where there is none, or a size is said
    that pictures of any form are brought to."""
    value, front = options.get("backbone"), options.get("front")
    if isinstance(front, Backbone):
        value = front.network or front.model
        if front.size is not None:
            return None
    if value is None or options.get("backbone_size") is not None:
        return None
    if not isinstance(value, Network):
        value = backbone_name("backbone", value)
        if value in BACKBONES:
            known = BACKBONES.get(value)
            return known.shape, known.dtype
        value = network_of(value, (), "", lambda graph, about: ())
    return value.graph.input_shape, value.graph.input_dtype


def room_for(ram: int | None, of_process: bool) -> int | None:
    """Bytes that a budget of RAM leaves for what is not there yet; None without one."""
    return None if ram is None else max(0, ram - (settled() if of_process else 0))


def network_behind(
    config: Config, front: FrontInUse | None, spec: SampleSpec, classes: int, rng: np.random.Generator
) -> Network:
    """The network that a run trains, for samples behind ``front``: `TAIL` is what follows a backbone's cut."""
    value: Any = config.network
    if value == TAIL and front is not None:
        value = front.front.tail(classes)
    return resolve_network(value, spec, classes, config.norm, rng).frozen_below(config.freeze_below)


def raw_spec(stream: Stream) -> SampleSpec:
    """What the stream's samples look like before any front: its mean and std are not those of what comes out."""
    return SampleSpec(stream.input_shape, stream.input_dtype, stream.kind)


def stream_behind(stream: Stream, front: FrontInUse | None) -> Stream:
    """The stream as the network sees it: every source is read through the front, a piece at a time; of a costly front
    what came out stands in a file for the epochs after the first."""
    if front is None:
        return stream
    spec = front.spec
    mean, std = spec.mean, spec.std
    if mean is None or std is None:
        before = settled()
        mean, std = _statistics(stream.tasks, front)
        front.resident += max(0, settled() - before)

    def mapped(source: SampleSource, apply: Callable[[Array], Array]) -> SampleSource:
        behind = MappedSource(source, apply, spec.shape, spec.dtype, ROWS)
        return KeptSource(behind, Path(cache_path())) if front.front.costly else behind

    tasks = [replace(t, train=mapped(t.train, front), test=mapped(t.test, front.uncounted)) for t in stream.tasks]
    return replace(
        stream,
        input_shape=spec.shape,
        input_dtype=spec.dtype,
        mean=mean,
        std=std,
        kind=spec.kind,
        tasks=tuple(tasks),
    )


def _statistics(tasks: Sequence[Task], front: FrontInUse) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and spread of each channel behind the front, of up to `CALIBRATION` training samples evenly over the
    stream."""
    starts = np.cumsum([0, *(len(t.train) for t in tasks)])
    chosen = distinct(np.linspace(0, starts[-1] - 1, CALIBRATION).astype(np.int64))
    total, square, values = 0.0, 0.0, 0
    for task, first, end in zip(tasks, starts[:-1], starts[1:]):
        rows = chosen[(chosen >= first) & (chosen < end)] - first
        for at in range(0, len(rows), ROWS):
            x = front.uncounted(task.train.read(rows[at : at + ROWS])).astype(np.float64)
            x = x.reshape(len(x), x.shape[1], -1)
            total, square = total + x.sum(axis=(0, 2)), square + np.square(x).sum(axis=(0, 2))
            values += x.size // x.shape[1]
    mean = total / max(values, 1)
    std = np.sqrt(np.maximum(square / max(values, 1) - np.square(mean), 0))
    std = np.where(std < 1e-6, 1.0, std)  # a constant channel is only centred
    return tuple(np.round(mean, 6).tolist()), tuple(np.round(std, 6).tolist())
