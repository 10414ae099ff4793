"""Work: the one thread that does what excludes each other in a learner, and learns while nothing else is asked."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

from .refusals import Refused, no_room, problem

LOG = logging.getLogger("edgecl.service")
MOST_WAITING, MOST_KEPT = 64, 256


class Job:
    """Something the work thread does: ``kind``, ``state`` (waiting, running, done, failed), result or problem."""

    def __init__(self, number: int, kind: str, work: Callable[[], Any]) -> None:
        self.id, self.kind, self.work = str(number), kind, work
        self.state = "waiting"
        self.future: Future[Any] = Future()
        self.asked, self.began, self.ended = time.time(), 0.0, 0.0
        self.result: Any = None
        self.problem: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        found = {"id": self.id, "kind": self.kind, "state": self.state, "asked": self.asked}
        if self.began:
            found["seconds"] = round((self.ended or time.time()) - self.began, 3)
        if self.state == "done":
            found["result"] = self.result
        if self.problem is not None:
            found["problem"] = self.problem
        return found


class Idle(Protocol):
    """What the work thread does of its own accord."""

    def due(self) -> Callable[[], Any] | None: ...
    def interrupt(self) -> None: ...


class WorkThread:
    """Jobs in the order they came; between them what `Idle.due` says, which a job that comes interrupts."""

    def __init__(self, idle: Idle) -> None:
        self._idle = idle
        self._changed = threading.Condition()
        self._queue: deque[Job] = deque()
        self._numbers = itertools.count(1)
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._closed = False
        self.busy: str | None = None  # the kind of what is being done
        self.since = time.monotonic()  # when that began
        self.failure: BaseException | None = None  # of what was done of its own accord, until that succeeds
        self._thread = threading.Thread(target=self._work, name="work", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, kind: str, work: Callable[[], Any]) -> Job:
        """Do ``work()`` on the thread as soon as possible. Raises `Refused` (503) when too much waits."""
        with self._changed:
            if self._closed:
                raise no_room("The service is stopping")
            if len(self._queue) >= MOST_WAITING:
                raise no_room(f"{MOST_WAITING} jobs wait")
            job = Job(next(self._numbers), kind, work)
            self._jobs[job.id] = job
            while len(self._jobs) > MOST_KEPT and next(iter(self._jobs.values())).future.done():
                self._jobs.popitem(last=False)
            self._queue.append(job)
            self._changed.notify()
        self.nudge()
        return job

    def nudge(self) -> None:
        """End what is done for others while a job waits. Called again by a timer: what had not yet begun to listen when
        it was told would otherwise go on.
        """
        shortened = ("slice", "learn", "fleet") if self._closed else ("slice", "learn")  # a round is for others, too
        if (self._queue or self._closed) and self.busy in shortened:
            self._idle.interrupt()

    def wake(self) -> None:
        """Look at once whether something is due."""
        with self._changed:
            self._changed.notify()

    def job(self, number: str) -> Job:
        with self._changed:
            if number not in self._jobs:
                raise Refused(404, f"There is no job '{number[:32]}'.", f"The last {MOST_KEPT} are known.")
            return self._jobs[number]

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def on_it(self) -> bool:
        """Whether the caller is this thread."""
        return threading.current_thread() is self._thread

    def close(self, timeout: float | None = None) -> bool:
        """End what is being done after its present step; jobs that wait are refused. Whether it ended in time."""
        with self._changed:
            self._closed = True
            left, self._queue = list(self._queue), deque()
            self._changed.notify()
        for job in left:
            self._end(job, None, no_room("The service is stopping"))
        limit = None if timeout is None else time.monotonic() + timeout
        while self._thread.is_alive() and (limit is None or time.monotonic() < limit):
            self.nudge()
            self._thread.join(0.02)
        return not self._thread.is_alive()

    # -- the thread

    def _work(self) -> None:
        while True:
            with self._changed:
                if self._closed:
                    return
                job = self._queue.popleft() if self._queue else None
                if job is not None:
                    self._begin(job.kind)
            if job is not None:
                self._do(job)
                continue
            try:
                due = self._idle.due()
                if due is not None:
                    with self._changed:
                        self._begin("slice")
                    if not self._queue and not self._closed:
                        due()
                    self.failure = None
            except BaseException as error:
                self.failure = error
                LOG.exception("learning failed", extra={"event": "failure"})
                due = None
            finally:
                self.busy = None
            if due is None:
                with self._changed:
                    if not self._queue and not self._closed:
                        self._changed.wait(1.0)

    def _begin(self, kind: str) -> None:
        self.busy, self.since = kind, time.monotonic()

    def _do(self, job: Job) -> None:
        job.state, job.began = "running", time.time()
        try:
            result = job.work()
        except BaseException as error:
            self._end(job, None, error)
        else:
            self._end(job, result, None)
        finally:
            self.busy = None

    @staticmethod
    def _end(job: Job, result: Any, error: BaseException | None) -> None:
        job.ended = time.time()
        if error is None:
            job.state, job.result = "done", result
            job.future.set_result(result)
            return
        job.state, job.problem = "failed", problem(error)
        if job.problem["status"] == 500:
            LOG.error("job %s failed", job.kind, exc_info=error, extra={"event": "failure"})
        job.future.set_exception(error)
