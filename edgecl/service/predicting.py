"""Predictions: one thread that answers everything that waits in one call of the learner."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple, Protocol

import numpy as np

from .bodies import Samples
from .refusals import Refused, no_room

KEPT_FREE = 64  # rows that no large request may take
WHILE_LEARNING = 8  # rows of a call then: the step that it keeps waiting waits no longer


class Answer(NamedTuple):
    """x as it came; labels and shares float32 [n, k] of the labels known then; ``steps`` of the weights; their slot."""

    x: np.ndarray
    labels: list[Any]
    known: tuple[Any, ...]
    shares: np.ndarray
    steps: int
    slot: str


class Predictor(Protocol):
    """What answers: shares float32 [n, k] of samples, the labels they are of, and the version of the weights."""

    @property
    def learning(self) -> bool: ...
    def shares(self, x: np.ndarray) -> tuple[np.ndarray, tuple[Any, ...], int, str]: ...


class _Request:
    def __init__(self, decode: Callable[[], Samples], rows: int) -> None:
        self.decode, self.rows = decode, rows
        self.future: Future[Answer] = Future()
        self.x = np.zeros(0)
        self.parts: list[np.ndarray] = []
        self.done = 0

    def fail(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class PredictThread:
    """Takes all waiting requests up to ``batch`` rows in one call, single samples before pieces of large ones.

    most : rows that may wait, a large request counted as all but `KEPT_FREE` of them
    """

    def __init__(self, predictor: Predictor, batch: int, most: int) -> None:
        self._predictor, self._batch, self._most = predictor, batch, most
        self._changed = threading.Condition()
        self._new: deque[_Request] = deque()
        self._rows, self._closed = 0, False
        self._begun: list[_Request] = []
        self.calls = 0
        self._thread = threading.Thread(target=self._work, name="predict", daemon=True)
        self._thread.start()

    def check_room(self, rows: int) -> None:
        """Raise `Refused` (503) where so many more may not wait. One large request may always be the only large one,
        and small ones still come in beside it.
        """
        with self._changed:
            if self._closed:
                raise no_room("The service is stopping")
            if self._rows and self._rows + self._counted(rows) > self._most:
                raise no_room(f"{self._rows} samples wait for a prediction")

    def _counted(self, rows: int) -> int:
        return min(rows, max(1, self._most - KEPT_FREE))

    def ask(self, decode: Callable[[], Samples], rows: int) -> Future[Answer]:
        """The answer for what ``decode`` gives, about ``rows`` samples. Raises as `check_room`."""
        self.check_room(rows)
        request = _Request(decode, self._counted(rows))
        with self._changed:
            self._new.append(request)
            self._rows += request.rows
            self._changed.notify()
        return request.future

    def close(self) -> None:
        """Answer what waits, then end."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    # -- the thread

    def _work(self) -> None:
        while True:
            with self._changed:
                while not (self._new or self._begun or self._closed):
                    self._changed.wait()
                if self._closed and not (self._new or self._begun):
                    return
                fresh, self._new = list(self._new), deque()
            for request in fresh:
                self._decode(request)
            try:
                self._turn()
            except BaseException as error:  # of all in this call; the thread goes on
                for request in self._begun:
                    request.fail(error)
            self._drop_done()

    def _decode(self, request: _Request) -> None:
        try:
            request.x = request.decode().x
            self._begun.append(request)
        except BaseException as error:
            request.fail(error)
            self._give_back(request)

    def _give_back(self, request: _Request) -> None:
        with self._changed:
            self._rows -= request.rows

    def _turn(self) -> None:
        """One call of the learner for rows of one shape and dtype."""
        room = min(self._batch, WHILE_LEARNING) if self._predictor.learning else self._batch
        waiting = sorted((r for r in self._begun if not r.future.done()), key=lambda r: len(r.x) > 1)
        if not waiting:
            return
        pieces: list[tuple[_Request, np.ndarray]] = []
        kind = (waiting[0].x.shape[1:], waiting[0].x.dtype)
        for request in waiting:
            if room and (request.x.shape[1:], request.x.dtype) == kind:
                piece = request.x[request.done : request.done + room]
                pieces.append((request, piece))
                room -= len(piece)
        x = pieces[0][1] if len(pieces) == 1 else np.concatenate([piece for _, piece in pieces])
        try:
            shares, known, steps, slot = self._predictor.shares(x)
        except BaseException as error:
            if len(pieces) == 1 or isinstance(error, Refused):
                raise
            self._one_by_one(pieces)  # one of them may be at fault, the others are not
            return
        self.calls += 1
        at = 0
        for request, piece in pieces:
            self._take(request, shares[at : at + len(piece)], known, steps, slot)
            at += len(piece)

    def _one_by_one(self, pieces: list[tuple[_Request, np.ndarray]]) -> None:
        for request, piece in pieces:
            try:
                self._take(request, *self._predictor.shares(piece))
            except BaseException as error:
                request.fail(error)

    def _take(self, request: _Request, shares: np.ndarray, known: tuple[Any, ...], steps: int, slot: str) -> None:
        request.parts.append(shares)
        request.done += len(shares)
        if request.done < len(request.x) or request.future.done():
            return
        width = len(known)
        whole = np.zeros((len(request.x), width), np.float32)
        at = 0
        for part in request.parts:  # labels may have been added between two pieces
            whole[at : at + len(part), : part.shape[1]] = part[:, :width]
            at += len(part)
        labels = [known[k] for k in np.argmax(whole, axis=1)]
        request.future.set_result(Answer(request.x, labels, known, whole, steps, slot))

    def _drop_done(self) -> None:
        for request in self._begun:
            if request.future.done():
                self._give_back(request)
        self._begun = [r for r in self._begun if not r.future.done()]
