"""The engine contract: the one thing methods talk to. `native` and `torch` implement it alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from ..compiler import Plan
from .gradients import Flat
from .model import Model
from .sides import Side

Array = np.ndarray


@dataclass
class Meters:
    """What ran so far. FLOPs = 2 x MACs of convolutions and linear layers over living weights, real samples.

    halo_flops: the part of ``forward_flops`` + ``backward_flops`` that multiplied padding zeros.
    padded_lane_flops: work on lanes that hold no sample (not part of the FLOPs above).
    """

    forward_flops: int = 0
    backward_flops: int = 0
    halo_flops: int = 0
    padded_lane_flops: int = 0
    forwards: int = 0
    backwards: int = 0
    steps: int = 0

    def to_json(self) -> dict[str, int]:
        return asdict(self)


class Gradients(Protocol):
    """Accumulated gradients, flat over living weights of the parameters that the plan trains, in graph order.

    ``copy`` makes a copy that the caller keeps; the plan counts as many as its ``gradient_copies``.
    """

    flat: Array  # float32 [sum of living]; writable (A-GEM, clipping)

    def __getitem__(self, name: str) -> Array:
        """Gradient of one parameter over its living weights, canonical order (a view of ``flat``)."""

    def copy(self) -> Array: ...
    def dot(self, other: Array) -> float: ...
    def axpy(self, alpha: float, other: Array) -> None: ...
    def scale(self, alpha: float) -> None: ...
    def norm(self) -> float: ...


class Engine(Protocol):
    """Runs a plan over a model. What it can do beyond training on logits is declared when planning (`Extras`).

    forward(feeds, fetch, training, params) -> fetched arrays, float32 [B, ...]; B <= the plan's batch. A training
        forward returns what ``fetch`` of the plan names, an evaluation forward what ``predict_fetch`` names;
        ``logits`` and ``features`` are the classifier's output and input. ``params``, a snapshot or a side, makes it
        an evaluation forward of these values, whatever ``training`` says.
    backward(seeds) of the latest training forward; accumulates into ``gradients`` until `step`. Any tensor that the
        forward fetched may be seeded; the others count as zero.
    step(lr) commits weights, optimizer state and batch-norm statistics together, then clears gradients.
    A weight outside the gradient subset or frozen is untouched by step: value, moments and counts stay
    bit-equal, no weight decay.

    The plan's ``trains``: with ``none`` a training forward, backward and step are refused; with ``head`` the
    classifier alone has gradients and optimizer state, and the body of a training forward runs as in a prediction
    (running statistics, no dropout). Nothing of what is not trained is allocated.
    """

    model: Model
    meters: Meters
    plan: Plan

    @property
    def gradients(self) -> Gradients: ...

    def forward(
        self,
        feeds: Mapping[str, Array],
        fetch: Sequence[str] = ("logits",),
        training: bool = True,
        params: Mapping[str, Array] | Side | None = None,
    ) -> dict[str, Array]: ...

    def backward(self, seeds: Mapping[str, Array]) -> None: ...
    def step(self, lr: float) -> None: ...
    def clear_gradients(self) -> None: ...
    def discard(self) -> None:
        """Forget accumulated gradients and uncommitted batch-norm statistics, and end a visit."""

    def visit_dense_gradients(self, names: Sequence[str], visit: Callable[[str, range, Array], None]) -> None:
        """Look at the gradients of all weights of ``names``, dead ones too, until the next `step` or `discard`.

        Every backward until then calls ``visit(name, rows, block)`` for each block of rows, once: float32 [rows,
        in/groups, kh, kw], what this backward adds to the dense gradient (frozen and masked weights included). The
        step's gradient is the sum over its backward passes, of which micro-batches and separate forwards make
        several; adding up is the visitor's, who need not keep a whole tensor. The meters count the whole dense
        gradient of a visited weight in place of that of its living weights, which is taken from it. No names end a
        visit.
        """

    def side(self, name: str) -> Side:
        """A parameter set beside the model, of those the plan declares; see `Side`. `forward` and `predictor`
        evaluate with it, also where its patterns are not the model's. Head units that it does not know have logits
        of -inf.
        """

    def per_weight(self, name: str) -> Flat:
        """An array that a method keeps per weight, of those the plan declares: aligned with ``gradients.flat``, zero
        at first. It follows every change of pattern as a moment does (survivors keep, newcomers 0), a wider head and
        `reset`, and is saved with the model. The object stays the same; take ``flat`` anew after such a change.
        """

    def snapshot(self) -> dict[str, Array]: ...
    def set_pattern(self, name: str, pattern: Array | None) -> None: ...
    def set_gradient_mask(self, name: str, subset: Array | None) -> None: ...
    def freeze(self, names: Iterable[str]) -> None: ...
    def unfreeze(self, names: Iterable[str]) -> None: ...
    def replan(self, plan: Plan) -> None:
        """Go on with another plan: batch, densities, threads, a wider head, other extras, more or less that is
        trained. Parameters stay, and sides and arrays per weight that both plans declare. What the new plan has no
        use for is released: arenas, lists, gradients; optimizer state that comes back later begins at zero.
        """

    def reset(self, names: Iterable[str], rng: np.random.Generator) -> None: ...
    def predictor(
        self, batch: int, fetch: Sequence[str] = ("logits",), side: str | None = None
    ) -> Callable[[Array], dict[str, Array]]:
        """A function x [B, ...] -> what ``fetch`` names, float32 [B, ...], in chunks of ``batch``, for any thread. It
        never changes state. ``batch`` is at most the plan's predict_batch, ``fetch`` of its predict_fetch. With a
        ``side`` it predicts with that; while the side holds nothing, with the model. A head that grows meanwhile
        does not widen the result.
        """

    def changing(self) -> AbstractContextManager[Any]:
        """While it is entered, parameters may be replaced; predictors of other threads wait."""

    def state(self) -> dict[str, Array]:
        """Copies of the model's arrays, those kept per weight and the sides; see `Model.state` and `Side.state`."""

    def load(self, state: Mapping[str, Array]) -> None:
        """Continue from `state`. A side that it lacks holds nothing, an array per weight is zero."""
