"""FrontInUse: a front at work. It is given few samples at a time; results are checked, FLOPs and seconds counted."""

from __future__ import annotations

import time
from collections.abc import Mapping
from copy import copy
from threading import Lock
from typing import Any

import numpy as np

from ..budget.meters import settled
from ..errors import BadInput, EdgeclError
from ..fronts import FRONTS, ROWS, Front
from ..plugins import guard_plugin
from .spec import SampleSpec, sample_spec

Array = np.ndarray


class FrontInUse:
    """A front for the samples of one learner or run.

    Parameters
    ----------
    front : with its options and state;  raw : what a raw sample looks like; mean and std are of what comes out
    room : bytes that a budget of RAM leaves, None without one

    front : the same, placed
    flops, seconds : what `__call__` did so far: of samples that are taken, stored or trained on, not of predictions
    resident : bytes by which making it and trying it made the process grow
    """

    def __init__(self, front: Front, raw: SampleSpec, room: int | None = None) -> None:
        with guard_plugin(front, "warm"):
            front.warm()
        before = settled()
        front = copy(front)
        front.budget_room = room
        with guard_plugin(front, "prepare"):
            self.front = front.placed(raw.shape, raw.dtype)
        self.raw = raw
        self.flops, self.seconds = 0, 0.0
        self._lock = Lock()
        self.uncounted(np.zeros((1, *raw.shape), raw.dtype))
        self.resident = max(0, settled() - before)

    @property
    def spec(self) -> SampleSpec:
        """What a sample looks like behind it."""
        front, mean, std = self.front, self.raw.mean, self.raw.std
        return sample_spec(
            front.shape, front.dtype, front.mean if mean is None else mean, front.std if std is None else std
        )

    @property
    def planned_bytes(self) -> int:
        """Its own bytes, and a piece of raw samples with its result."""
        return sum(self.planned.values())

    @property
    def planned(self) -> dict[str, int]:
        """The same by purpose: its `Front.bytes_apart` each, the rest as ``front``."""
        apart = {f"front_{name}": n for name, n in self.front.bytes_apart.items()}
        rest = self.front.bytes - sum(apart.values())
        return {"front": rest + ROWS * (self.raw.bytes + self.spec.bytes), **apart}

    def __call__(self, x: Array) -> Array:
        """Results [n, *shape] of raw samples [n, ...], counted; from any thread."""
        began = time.monotonic()
        found = self.uncounted(x)
        took = time.monotonic() - began
        with self._lock:
            self.flops += len(x) * self.front.flops
            self.seconds += took
        return found

    def uncounted(self, x: Array) -> Array:
        """The same for a prediction or an evaluation, which no meter counts."""
        front = self.front
        out = np.empty((len(x), *front.shape), front.dtype)
        for at in range(0, len(x), ROWS):
            piece = np.ascontiguousarray(x[at : at + ROWS])
            with guard_plugin(front, "__call__"):
                found = front(piece)
            self._check(found, len(piece), at)
            out[at : at + ROWS] = found
        return out

    def _check(self, found: Any, rows: int, at: int) -> None:
        front = self.front
        form = (getattr(found, "shape", None), str(getattr(found, "dtype", type(found).__name__)))
        if form != ((rows, *front.shape), front.dtype):
            raise EdgeclError(
                f"The front '{front.name}' gave {form[1]} {form[0]}; it declares {front.dtype} {front.shape} a sample.",
                "Report it to its author.",
            )
        if np.dtype(front.dtype).kind == "f" and not np.isfinite(found).all():
            bad = int(np.flatnonzero(~np.isfinite(found).reshape(rows, -1).all(axis=1))[0])
            raise BadInput(
                f"Sample {at + bad} holds NaN or infinity behind the front '{front.name}'.", "Leave out that sample."
            )

    def facts(self) -> dict[str, Any]:
        """What a record says of it; plain values."""
        front = self.front
        return {**front.about(), "bytes": front.bytes, "sample_flops": front.flops, **front.facts()}

    # -- saved state

    def state(self) -> dict[str, Any]:
        """Everything to make it again, what it is known by, and what it has counted."""
        front = self.front
        return {**front.about(), "given": dict(front.given), "arrays": front.state(), "flops": self.flops}

    def load(self, state: Mapping[str, Any]) -> None:
        """Count on from `state`."""
        self.flops, self.seconds = int(state["flops"]), 0.0


def saved_front(state: Mapping[str, Any]) -> Front:
    """The front of a saved state, placed. Raises `BadInput` when what is here is not what it was."""
    try:
        name, given, then = str(state["name"]), dict(state["given"]), str(state["digest"])
        shape, dtype = tuple(int(n) for n in state["raw"]["shape"]), str(state["raw"]["dtype"])
        arrays, version = dict(state["arrays"]), int(state["version"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput("The front of this saved state cannot be read.", "Use a state as edgecl wrote it.") from error
    made = FRONTS.get(name)(**given)
    with guard_plugin(made, "load"):
        made.load(arrays)
    with guard_plugin(made, "prepare"):
        front = made.placed(shape, dtype)
    if front.digest != then:
        raise BadInput(
            f"The front '{name}' of this saved state is not the one here: version {version}, digest {then[:12]}, "
            f"against version {front.version}, digest {front.digest[:12]}.",
            "Install the version it was saved with, or begin anew: what learned behind one front does not fit another.",
        )
    return front
