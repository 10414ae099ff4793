"""Needs: what a method asks of memory, engine and plan. What it declares it gets, planned and metered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

Width = int | Literal["classes"]


class Field(NamedTuple):
    """One array stored beside every sample: in the memory and, with a store, on flash.

    Parameters
    ----------
    name : such as ``logits``
    dtype : numpy name of its values, such as ``float16``
    width : values a sample, or ``classes``: one per head unit, each sample as wide as the head was in use
    """

    name: str
    dtype: str
    width: Width


LOGITS = Field("logits", "float16", "classes")


class Passes(NamedTuple):
    """Work beyond the usual step, at most; the plan's steps and FLOPs count it.

    Parameters
    ----------
    forward, backward : extra rows forwarded and backwarded per row of a step's batch
    epochs, memory_epochs, steps : of a task's phases: epochs over its samples, epochs over the memory, further steps
    candidates : forwards of each candidate that `Method.choose` makes
    final_memory_epochs : of the phases of `Method.finish`: epochs over the memory
    """

    forward: float = 0.0
    backward: float = 0.0
    epochs: float = 0.0
    candidates: float = 0.0
    memory_epochs: float = 0.0
    steps: float = 0.0
    final_memory_epochs: float = 0.0

    @property
    def phases(self) -> bool:
        """Whether there is training outside the tasks' own epochs."""
        return any((self.epochs, self.memory_epochs, self.steps, self.final_memory_epochs))


NO_PASSES = Passes()


@dataclass(frozen=True)
class Needs:
    """Demands of a method beside the current samples; the plan counts each before a budget is accepted.

    Parameters
    ----------
    draws : replay draws a step
    candidates : rows drawn for `Method.choose`, which names those to replay (at most the run's replay batch); 0: the
        draw itself is replayed
    merged : a batch's rows come from task and memory together, in one shuffled order (then ``draws`` is 0)
    keeps : whether a memory is wanted though no step replays from it (its samples serve phases)
    holdout : share of the memory, and as many new rows, kept out of training, class-balanced (BiC)
    fields : stored beside a sample
    fetch : tensors of a training forward;  ``features`` is the classifier's input
    predict : tensors of a prediction forward, the ``outs`` of `Method.scores`
    predict_side : the parameter set that predictions use (EMA, CLS-ER); None: the model
    sides : names of parameter sets beside the model
    gradient_copies : flat gradients kept beside the engine's (A-GEM, MIR)
    per_weight : names of float32 arrays with a value per living trained weight (EWC, SI)
    statistics : (feature width d, classes C) -> bytes of sums and means the method keeps
    passes : extra rows and epochs
    on_the_way : whether the tasks' own steps train; False: they offer samples, and phases train (GDumb)
    trains : ``all``; ``head``, the classifier only; ``none``: no backward program, no gradients, no activations kept
    body : ``first task``: ``trains`` holds from the second task on, the first one is learned by plain SGD with a linear
        head; ``frozen``: from the first step on
    """

    draws: int = 0
    candidates: int = 0
    merged: bool = False
    keeps: bool = False
    holdout: float = 0.0
    fields: tuple[Field, ...] = ()
    fetch: tuple[str, ...] = ("logits",)
    predict: tuple[str, ...] = ("logits",)
    predict_side: str | None = None
    sides: tuple[str, ...] = ()
    gradient_copies: int = 0
    per_weight: tuple[str, ...] = ()
    statistics: Callable[[int, int], int] | None = None
    passes: Passes = NO_PASSES
    on_the_way: bool = True
    trains: Literal["all", "head", "none"] = "all"
    body: Literal["learns", "first task", "frozen"] = "learns"

    @property
    def memory(self) -> bool:
        """Whether the method uses the episodic memory at all."""
        return bool(self.draws or self.merged or self.candidates or self.keeps)

    def field(self, name: str) -> Field | None:
        """The declared field of that name, or None."""
        return next((f for f in self.fields if f.name == name), None)

    def rows(self, batch: int, replay_batch: int, replay_forward: str = "joint", micro_batch: int | None = None) -> int:
        """Rows of the largest single training forward: the plan's batch. Chosen rows have a forward of their own."""
        drawn = replay_batch if self.draws else 0
        joint = replay_forward == "joint" and not self.candidates
        rows = batch + self.draws * drawn if joint else max(batch, drawn)
        return rows if micro_batch is None else min(rows, micro_batch)
