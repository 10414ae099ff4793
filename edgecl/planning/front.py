"""What a front changes in a plan: the samples' form, the stream, bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..budget.meters import resident
from ..data import MappedSource, SampleSource, Stream, Task
from ..fronts import FRONTS, ROWS, Front
from ..intake.front import FrontInUse
from ..intake.spec import SampleSpec
from ..storage.sets import distinct

Array = np.ndarray
CALIBRATION = 256  # training samples whose mean and spread stand for those of all


def configured_front(name: str, options: Mapping[str, Any], raw: SampleSpec, given: Any = None) -> FrontInUse | None:
    """The front called ``name``, for raw samples of ``raw``; None where that is ``none``.

    given : what the option was given as: a `Front` is used as it is, with its state. Raises `BadInput`
    """
    if name == "none":
        return None
    return FrontInUse(given if isinstance(given, Front) else FRONTS.get(name)(**options), raw)


def raw_spec(stream: Stream) -> SampleSpec:
    """What the stream's samples look like before any front: its mean and std are not those of what comes out."""
    return SampleSpec(stream.input_shape, stream.input_dtype, stream.kind)


def stream_behind(stream: Stream, front: FrontInUse | None) -> Stream:
    """The stream as the network sees it: every source is read through the front, a piece at a time."""
    if front is None:
        return stream
    spec = front.spec
    mean, std = spec.mean, spec.std
    if mean is None or std is None:
        before = resident()
        mean, std = _statistics(stream.tasks, front)
        front.resident += max(0, resident() - before)

    def mapped(source: SampleSource, apply: Callable[[Array], Array]) -> MappedSource:
        return MappedSource(source, apply, spec.shape, spec.dtype, ROWS)

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
