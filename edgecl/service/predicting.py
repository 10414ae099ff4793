"""Predictions: one thread that answers everything that waits in one call of the learner."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict, deque
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


AnyFuture = Future[Answer] | asyncio.Future[Answer]


class _Request:
    """future : of a thread, or of an asyncio loop, which only that loop's thread may set"""

    def __init__(self, decode: Callable[[], Samples], rows: int, future: AnyFuture) -> None:
        self.decode, self.rows, self.future = decode, rows, future
        self.x = np.zeros(0)
        self.parts: list[np.ndarray] = []
        self.done = 0
        self.outcome: Answer | BaseException | None = None

    @property
    def over(self) -> bool:
        """Has it an outcome, or has its asker gone?"""
        return self.outcome is not None or self.future.done()

    def fail(self, error: BaseException) -> None:
        if self.outcome is None:
            self.outcome = error

    def settle(self) -> None:
        if self.future.done():
            return
        if isinstance(self.outcome, BaseException):
            self.future.set_exception(self.outcome)
        elif self.outcome is not None:
            self.future.set_result(self.outcome)


def _settle(requests: list[_Request]) -> None:
    for request in requests:
        request.settle()


def _deliver(requests: list[_Request]) -> None:
    """Settle the futures of requests that are over; those of a loop together, so that it wakes up once."""
    by_loop: defaultdict[asyncio.AbstractEventLoop, list[_Request]] = defaultdict(list)
    for request in requests:
        if isinstance(request.future, asyncio.Future):
            by_loop[request.future.get_loop()].append(request)
        else:
            request.settle()
    for loop, of_loop in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle, of_loop)
        except RuntimeError:  # the loop is closed, and with it who asked
            continue


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
            self._check(self._counted(rows))

    def _check(self, counted: int) -> None:
        if self._closed:
            raise no_room("The service is stopping")
        if self._rows and self._rows + counted > self._most:
            raise no_room(f"{self._rows} samples wait for a prediction")

    def _counted(self, rows: int) -> int:
        return min(rows, max(1, self._most - KEPT_FREE))

    def ask(self, decode: Callable[[], Samples], rows: int) -> Future[Answer]:
        """The answer for what ``decode`` gives, about ``rows`` samples. Raises as `check_room`."""
        future: Future[Answer] = Future()
        self._add(_Request(decode, self._counted(rows), future))
        return future

    async def answer(self, decode: Callable[[], Samples], rows: int) -> Answer:
        """The same, awaited by a coroutine."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._add(_Request(decode, self._counted(rows), future))
        return await future

    def _add(self, request: _Request) -> None:
        with self._changed:
            self._check(request.rows)
            self._new.append(request)
            self._rows += request.rows
            self._changed.notify()

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
        except BaseException as error:
            request.fail(error)
        self._begun.append(request)

    def _turn(self) -> None:
        """One call of the learner for rows of one shape and dtype."""
        room = min(self._batch, WHILE_LEARNING) if self._predictor.learning else self._batch
        waiting = sorted((r for r in self._begun if not r.over), key=lambda r: len(r.x) > 1)
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
        if request.done < len(request.x) or request.over:
            return
        width = len(known)
        whole = np.zeros((len(request.x), width), np.float32)
        at = 0
        for part in request.parts:  # labels may have been added between two pieces
            whole[at : at + len(part), : part.shape[1]] = part[:, :width]
            at += len(part)
        labels = [known[k] for k in np.argmax(whole, axis=1)]
        request.outcome = Answer(request.x, labels, known, whole, steps, slot)

    def _drop_done(self) -> None:
        over = [r for r in self._begun if r.over]
        if over:
            self._begun = [r for r in self._begun if not r.over]
            with self._changed:
                self._rows -= sum(r.rows for r in over)
            _deliver(over)
