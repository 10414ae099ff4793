"""Pool: samples that were predicted and wait for a label; bounded, oldest out, in RAM only."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np

from ..errors import BadInput
from .config import Pool as Limits
from .refusals import Refused

REMEMBERED = 4096  # ids of labelled samples, so that a second label is told from a lost sample


class Waiting(NamedTuple):
    """x [C, H, W]; when it came (monotonic seconds); the guess, its probability, and that less the next one's."""

    x: np.ndarray
    at: float
    guess: Any
    probability: float
    margin: float


class Pool:
    """Safe to use from any thread. An id is of one life of the daemon: those of an earlier one are gone."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._lock = threading.Lock()
        self._waiting: OrderedDict[str, Waiting] = OrderedDict()
        self._labelled: OrderedDict[str, None] = OrderedDict()
        self._life, self._next = secrets.token_hex(4), 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def bytes(self) -> int:
        """Of the samples that wait."""
        with self._lock:
            return sum(w.x.nbytes for w in self._waiting.values())

    def add(self, x: np.ndarray, guesses: list[Any], shares: np.ndarray) -> list[str]:
        """Ids of samples x [n, ...], which are copied; shares float32 [n, k] as predicted."""
        top = np.sort(shares, axis=1)[:, ::-1]
        margins = top[:, 0] - (top[:, 1] if shares.shape[1] > 1 else 0)
        ids = []
        with self._lock:
            for i, guess in enumerate(guesses):
                name = f"{self._life}-{self._next}"
                self._next += 1
                held = Waiting(x[i].copy(), time.monotonic(), guess, float(top[i, 0]), float(margins[i]))
                self._waiting[name] = held
                ids.append(name)
            self._shorten()
        return ids

    def _shorten(self) -> None:
        total = sum(w.x.nbytes for w in self._waiting.values())
        oldest = time.monotonic() - self.limits.age
        while self._waiting:
            name, first = next(iter(self._waiting.items()))
            if len(self._waiting) <= self.limits.samples and total <= self.limits.bytes and first.at >= oldest:
                return
            del self._waiting[name]
            total -= first.x.nbytes

    def get(self, name: str) -> Waiting:
        """Raises `Refused`: 409 labelled already, 410 gone."""
        with self._lock:
            self._shorten()
            if name in self._labelled:
                raise Refused(409, f"Sample '{name}' was labelled already.", "Relabel it by its id in the store.")
            if name not in self._waiting:
                raise Refused(410, f"Sample '{name[:64]}' is no longer there.", "Samples wait in RAM for a while only.")
            return self._waiting[name]

    def labelled(self, name: str) -> None:
        """It has its label: it leaves."""
        with self._lock:
            self._waiting.pop(name, None)
            self._labelled[name] = None
            while len(self._labelled) > REMEMBERED:
                self._labelled.popitem(last=False)

    def clear(self) -> int:
        """Everything leaves: nobody knows whose samples they are. How many."""
        with self._lock:
            count = len(self._waiting)
            self._waiting.clear()
            return count

    def rows(self, by: str, count: int) -> list[dict[str, Any]]:
        """What waits: ``newest`` first, or by ``margin``, least certain first."""
        if by not in ("newest", "margin"):
            raise BadInput(f"by is '{by}'.", "Use newest or margin.")
        with self._lock:
            self._shorten()
            found = list(self._waiting.items())
        found = found[::-1] if by == "newest" else sorted(found, key=lambda item: item[1].margin)
        now = time.monotonic()
        return [
            {"id": name, "age": round(now - w.at, 1), "guess": w.guess, "probability": round(w.probability, 4),
             "margin": round(w.margin, 4)}
            for name, w in found[:count]
        ]  # fmt: skip
