"""Executor: who runs a frozen prefix. Our kernels, onnxruntime, or a plugin's for an accelerator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ...network import Network

Array = np.ndarray


class Executor:
    """Runs a prefix forward. A class says `available` and `open`; `edgecl.testing.check_executor` checks it.

    >>> class Mine(Executor):
    ...     name, contract = "mine", 1
    ...     def open(self, prefix):
    ...         self.device = load(prefix.graph, prefix.weights)
    ...         self.parts = {"weights": 4 * sum(w.size for w in prefix.weights.values())}
    ...     def __call__(self, x):
    ...         return self.device.run(x)

    name, contract : as of every class that is chosen by name
    version : of what it computes: a plugin raises it when its bits change
    parts : resident bytes by purpose (``weights``, ``activations``, ...), set by `open`
    measured : True where it cannot say its bytes: they are measured in a trial, and are not bounded by us
    """

    name = ""
    contract = 1
    version = "1"
    measured = False
    parts: Mapping[str, int] = {}

    @classmethod
    def missing(cls) -> str | None:
        """Name of the package or device that is missing here; None where the executor can be used."""
        return None

    @classmethod
    def identity(cls) -> str:
        """Name and version: part of the digest of all latents that it makes."""
        return f"{cls.name} {cls.version}"

    def open(self, prefix: Network) -> None:
        """Load a prefix before the first call. Batch norms of ``prefix`` are folded, its weights dense, its output is
        its graph's ``logits``, a map or a vector. Raises `BadInput` for what it cannot run.
        """
        raise NotImplementedError

    def __call__(self, x: Array) -> Array:
        """float32 [n, *output] of samples [n, *input] in the graph's input dtype, n at most `ROWS` of a front.

        The bits of a sample depend neither on the others nor on the thread; several threads may call at once.
        """
        raise NotImplementedError
