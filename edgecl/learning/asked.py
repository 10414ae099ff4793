"""What a call of `Learner.learn` is asked to do, and what it says that it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, NamedTuple

from ..errors import BadInput
from .progress import Listener


@dataclass(frozen=True)
class LearnLog:
    """What a call of `learn` did.

    steps : training steps of the task's own;  epochs : whole passes over the samples at hand
    loss : mean over the last 20 steps
    stopped : why it ended before what was asked, or None;  seconds : of training
    warnings : what a person should know;  new : samples trained on for the first time
    """

    steps: int
    epochs: int
    loss: float | None
    stopped: str | None
    seconds: float
    warnings: list[str] = field(default_factory=list)
    new: int = 0


class Asked(NamedTuple):
    """What a call of `learn` is to do; one of the first three is set.

    most : end after so many of the trainer's steps, those of phases included: a call that is repeated
    arrive : called before each step with how many the call has done
    progress : called after each step with a `Progress`
    """

    steps: int | None = None
    epochs: int | None = None
    seconds: float | None = None
    most: int | None = None
    arrive: Callable[[int], None] | None = None
    progress: Listener | None = None

    @staticmethod
    def checked(steps: Any, epochs: Any, seconds: Any, progress: Any = None) -> Asked:
        """What a caller wants; one epoch when nothing was said. Raises `BadInput`."""
        named = {"steps": steps, "epochs": epochs, "seconds": seconds}
        given: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
        if len(given) > 1:
            raise BadInput("learn() was given more than one of steps, epochs and seconds.", "Give one.")
        for name, value in given.items():
            kind: Any = Real if name == "seconds" else Integral
            if isinstance(value, bool) or not isinstance(value, kind) or (kind is Integral and value >= 2**63):
                raise BadInput(f"learn({name}={value!r}) cannot be done.", "Give whole steps or epochs, or seconds.")
            if not value > 0:
                raise BadInput(f"learn({name}={value}) asks for nothing.", "Give a number above 0.")
        if progress is not None and not callable(progress):
            raise BadInput(f"learn(progress={progress!r}) cannot be called.", "Give a function of one value.")
        return Asked(**(given or {"epochs": 1}), progress=progress)
