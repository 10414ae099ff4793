"""Intake: one thread that takes labelled samples, and answers those who wait for flash together."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from .refusals import no_room

GROUP = 0.02  # seconds over which waits for flash are grouped
MOST, MOST_BYTES = 64, 16_000_000


class _Request:
    def __init__(self, work: Callable[[], Any], size: int, durable: bool) -> None:
        self.work, self.size, self.durable = work, size, durable
        self.future: Future[Any] = Future()


class IntakeThread:
    """A bounded queue of work that takes samples, done in order.

    flush : returns when everything taken so far is on flash
    """

    def __init__(self, flush: Callable[[], None]) -> None:
        self._flush = flush
        self._changed = threading.Condition()
        self._queue: deque[_Request] = deque()
        self._bytes, self._closed = 0, False
        self.flushing_since: float | None = None  # monotonic seconds
        self._thread = threading.Thread(target=self._work, name="intake", daemon=True)
        self._thread.start()

    def check_room(self, size: int) -> None:
        """Raise `Refused` (503) where no more may wait."""
        with self._changed:
            if self._closed:
                raise no_room("The service is stopping")
            if len(self._queue) >= MOST or (self._queue and self._bytes + size > MOST_BYTES):
                raise no_room(f"{len(self._queue)} requests with samples wait")

    def ask(self, work: Callable[[], Any], size: int, durable: bool = False) -> Future[Any]:
        """The result of ``work()``; ``durable``: not before it is on flash. Raises as `check_room`."""
        self.check_room(size)
        request = _Request(work, size, durable)
        with self._changed:
            self._queue.append(request)
            self._bytes += size
            self._changed.notify()
        return request.future

    def close(self) -> None:
        """Do what waits, then end."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    # -- the thread

    def _work(self) -> None:
        waiting: list[tuple[_Request, Any]] = []
        since = 0.0
        while True:
            with self._changed:
                while not (self._queue or waiting or self._closed):
                    self._changed.wait()
                request = self._queue.popleft() if self._queue else None
                if request is not None:
                    self._bytes -= request.size
                elif self._closed and not waiting:
                    return
            if request is not None:
                try:
                    result = request.work()
                except BaseException as error:
                    request.future.set_exception(error)
                else:
                    if request.durable:
                        since = since if waiting else time.monotonic()
                        waiting.append((request, result))
                    else:
                        request.future.set_result(result)
            if waiting and (request is None or time.monotonic() - since >= GROUP):
                self._settle(waiting)
                waiting = []

    def _settle(self, waiting: list[tuple[_Request, Any]]) -> None:
        self.flushing_since = time.monotonic()
        try:
            self._flush()
        except BaseException as error:
            for request, _ in waiting:
                request.future.set_exception(error)
        else:
            for request, result in waiting:
                request.future.set_result(result)
        finally:
            self.flushing_since = None
