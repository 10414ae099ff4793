"""Phase: training that the task loop runs for a method or a sparsity policy, outside the task's own epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple


class Schedule(NamedTuple):
    """A learning rate over a phase: ``constant``, or ``cosine`` from ``lr`` to ``to`` (Loshchilov & Hutter 2017)."""

    kind: Literal["constant", "cosine"]
    lr: float
    to: float = 0.0

    def at(self, step: int, steps: int | None) -> float:
        """The rate of step ``step`` (from 0) of ``steps``; an open end keeps it constant."""
        if self.kind == "constant" or not steps:
            return self.lr
        return self.to + (self.lr - self.to) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))


def constant(lr: float) -> Schedule:
    return Schedule("constant", lr)


def cosine(lr: float, to: float = 0.0) -> Schedule:
    return Schedule("cosine", lr, to)


class Mix(NamedTuple):
    """Pairs of samples mixed with a share drawn from Beta(alpha, alpha), in a share ``p`` of the batches; targets
    become soft, float32 [B, C]. ``mixup`` blends values (Zhang et al. 2018), ``cutmix`` pastes a rectangle (Yun 2019).
    """

    kind: Literal["cutmix", "mixup"]
    alpha: float = 1.0
    p: float = 0.5


@dataclass(frozen=True)
class Phase:
    """Training over ``data`` with budgets, checkpoints and resuming, as a task's own epochs have.

    Parameters
    ----------
    data : the present ``task``, the ``memory``, or ``both`` end to end
    epochs, steps : its length; exactly one of them
    lr : None keeps the run's learning rate, constant
    only : names of the parameters that train; None: all
    reset : names of parameters that start anew before its first step (``*``: all)
    mix : None, or how samples are mixed
    """

    data: Literal["task", "memory", "both"]
    epochs: int | None = None
    steps: int | None = None
    lr: Schedule | None = None
    only: tuple[str, ...] | None = None
    reset: tuple[str, ...] = ()
    mix: Mix | None = None

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("A Phase has epochs or steps, one of them.")

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them back."""
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Phase:
        """The phase of a plain form that `to_json` wrote."""
        lr, mix, only = data["lr"], data["mix"], data["only"]
        return Phase(
            data["data"],
            data["epochs"],
            data["steps"],
            None if lr is None else Schedule(*(lr.values() if isinstance(lr, Mapping) else lr)),
            None if only is None else tuple(only),
            tuple(data["reset"]),
            None if mix is None else Mix(*(mix.values() if isinstance(mix, Mapping) else mix)),
        )
