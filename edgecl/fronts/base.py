"""Front: what stands before the network that learns, such as log-mel features, windows, a frozen backbone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import copy
from typing import Any, Self

import numpy as np

from ..checksums import checksum
from ..errors import BadInput
from ..network import Network
from ..options import Configurable

Array = np.ndarray
ROWS = 32  # samples of one call at most
DTYPES = ("float32", "uint8", "float16")  # that a network takes; float16 is widened when it is fed


class Front(Configurable):
    """Turns raw samples into a network's input: memory, store and training hold the results only.

    A front is constant: a raw sample gives the same bits alone and among others, from any thread, in every process, as
    long as ``version`` and options are the same. Whoever changes what comes out raises ``version``: a saved state or a
    store that was made through another one is refused. `edgecl.testing.check_front` checks this.

    >>> class Halved(Front):
    ...     "Every second value of a signal."
    ...     name, contract = "halved", 1
    ...     def prepare(self, shape, dtype):
    ...         self.shape, self.dtype = (shape[0], 1, shape[2] // 2), "float32"
    ...     def __call__(self, x):
    ...         return x[..., : 2 * self.shape[2] : 2].astype(np.float32)

    name, contract : as of every class that a run names;  version : of what it computes
    raw_shape, raw_dtype : of a raw sample, once `placed`

    `prepare` sets

    shape, dtype : of what comes out;  dtype ``float32``, ``uint8`` or ``float16`` (which is fed as float32)
    bytes : resident bytes: what it holds, and what a call with `ROWS` samples takes beside argument and result
    flops : of a sample: 2 x multiply-adds, and 5/2 n log2 n of a real Fourier transform of n values
    mean, std : per channel of what comes out, for the network's first node. None: 0 and 1 (255 for uint8) in a Learner,
        those of up to 256 training samples in a run
    bytes_apart : those of its bytes that are a line of their own in a plan, by purpose; among ``bytes``
    budget_room : bytes that a budget of RAM leaves it, set before `prepare`; None without one

    ``costly`` says that a run keeps what comes out, in a file of the cache folder, for the epochs after the first.

    Options are declared in the class, as those of a method (`options.option`).
    """

    name = ""
    contract = 1
    version = 1

    raw_shape: tuple[int, ...] = ()
    raw_dtype = ""
    shape: tuple[int, ...] = ()
    dtype = "float32"
    bytes = 0
    flops = 0
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    bytes_apart: Mapping[str, int] = {}
    budget_room: int | None = None
    costly = False

    # -- for a class to say

    def prepare(self, shape: tuple[int, ...], dtype: str) -> None:
        """Set shape, dtype, bytes and flops for raw samples of this shape and dtype, and make tables.

        Raises `BadInput` for samples that it does not take, before anything of size is made.
        """
        raise NotImplementedError

    def __call__(self, x: Array) -> Array:
        """Results [n, *shape], in an array of the caller's own, of raw samples [n, *raw_shape] in C order, n at most
        `ROWS`. It changes neither ``x`` nor itself: several threads call at once."""
        raise NotImplementedError

    def tail(self, classes: int) -> Network:
        """The rest of a network whose first part the front is, with a head for ``classes``."""
        raise BadInput(f"The front '{self.name}' leaves no network behind it.", "Give --network.")

    def warm(self) -> None:
        """Import shared code before the front's own bytes are measured."""

    def choices(self) -> tuple[str, ...]:
        """Choices that the front made by itself, in words for a plan."""
        return ()

    def facts(self) -> dict[str, Any]:
        """Plain values that a run's record holds beside `about`."""
        return {}

    def state(self) -> dict[str, Array]:
        """Arrays that options alone do not bring back (weights, codebooks), for saved states and the digest."""
        return {}

    def load(self, state: Mapping[str, Array]) -> None:
        """Restore the arrays of a saved `state`; called before `prepare`."""
        if state:
            raise BadInput(f"The front '{self.name}' has no state, and was saved with one.", "Use the version it had.")

    # -- what follows from it

    def placed(self, shape: tuple[int, ...], dtype: str) -> Self:
        """A copy of the front, prepared for raw samples of this shape and dtype. Raises `BadInput`."""
        shape, dtype = tuple(shape), str(dtype)
        if (self.raw_shape, self.raw_dtype) == (shape, dtype):
            return self
        front = copy(self)
        front.raw_shape, front.raw_dtype = shape, dtype
        front.prepare(shape, dtype)
        if front.dtype not in DTYPES or not front.shape:
            raise BadInput(
                f"The front '{self.name}' gives {front.dtype} of shape {front.shape}.",
                f"It must give {' or '.join(DTYPES)}, of a shape without the batch.",
            )
        return front

    @property
    def digest(self) -> str:
        """sha256 over name, version, options, raw samples, results' form and state: 64 hex digits."""
        return checksum(json.dumps(self._facts(), sort_keys=True), self.state())

    def about(self) -> dict[str, Any]:
        """Plain values that identify the front in records, stores and saved states."""
        return {**self._facts(), "digest": self.digest}

    def _facts(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": self.version,
            "options": self.hyper(),
            "raw": {"shape": list(self.raw_shape), "dtype": self.raw_dtype},
            "gives": {"shape": list(self.shape), "dtype": self.dtype},
        }
