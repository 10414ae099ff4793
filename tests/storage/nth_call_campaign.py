"""Every call that touches flash fails once, or from then on, or is the last one of its process; then the store is
opened.

Run as a program it is the worker, with the library of failing_calls.c preloaded: it forks a child for each point.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from failing_calls import KILL_AFTER, KILL_BEFORE, KINDS, Calls, Point, build
from store_life import StoreLife

WORKERS = 2
PATIENCE = 20  # seconds a life or its check may take
COUNTS = ("lost", "wrong", "leaked", "untyped", "died", "hangs")


def lives_of(which: str) -> list[Any]:
    """Lives to live; a learner's are imported only where they are wanted."""
    found: list[Any] = [StoreLife(False), StoreLife(True)] if which in ("store", "all") else []
    if which in ("learner", "all"):
        from learner_life import LearnerLife

        found += [LearnerLife(False), LearnerLife(True)]
    return found


def nth_call(place: Path, rounds: int, seed: int, lives: str = "all") -> dict[str, Any]:
    """Failing calls; one in ``rounds`` points is tried, drawn with the seed. lives: ``store``, ``learner`` or ``all``.
    
    """
    return _campaign(place, "fail", rounds, seed, lives)


def placed_kills(place: Path, rounds: int, seed: int, lives: str = "all") -> dict[str, Any]:
    """SIGKILL before and after each call; likewise."""
    return _campaign(place, "kill", rounds, seed, lives)


def _campaign(place: Path, what: str, rounds: int, seed: int, lives: str) -> dict[str, Any]:
    began = time.perf_counter()
    library = build(place)
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    environment = {**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": path}
    workers = []
    for part in range(WORKERS):
        folder = place / f"worker{part}"
        folder.mkdir()
        command = [sys.executable, "-P", __file__, what, str(rounds), str(seed), str(folder), str(part), lives]
        pipe = subprocess.PIPE
        workers.append(subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True))
    total: Counter[str] = Counter(dict.fromkeys(("points", *COUNTS), 0))
    typed: Counter[str] = Counter()
    failures: list[str] = []
    for worker in workers:
        out, errors = worker.communicate()
        if worker.returncode:
            raise RuntimeError(f"A worker ended with {worker.returncode}: {errors[-2000:]}")
        row = json.loads(out)
        typed.update(row["typed_errors"])
        failures += row["failures"]
        total.update({k: row[k] for k in total})
    seconds = round(time.perf_counter() - began, 1)
    told = {"typed_errors": dict(sorted(typed.items())), "failures": failures[:50]}
    return {**total, "of": row["of"], **told, "seconds": seconds}


# --- the worker --------------------------------------------------------------------------------------------


def points(counts: dict[str, int], what: str) -> list[Point]:
    """All points of a life that makes so many calls of each kind."""
    every = [(kind, n) for kind in KINDS for n in range(counts[kind])]
    if what == "kill":
        return [Point(k, n, mode=m) for k, n in every for m in (KILL_BEFORE, KILL_AFTER)]
    return [Point(k, n, e, s) for k, n in every for e in (errno.EIO, errno.ENOSPC) for s in (False, True)]


class Worker:
    def __init__(self, place: Path, what: str, every: int, seed: int, part: int, lives: list[Any]) -> None:
        self.lives = lives
        self.place, self.what, self.every, self.seed, self.part = place, what, every, seed, part
        self.calls = Calls()
        self.totals = Counter(dict.fromkeys(COUNTS, 0))
        self.failures: list[str] = []
        self.errors: Counter[str] = Counter()
        self.number = 0

    def run(self) -> dict[str, Any]:
        total = tried = 0
        for life in self.lives:
            counts = self._dry(life)
            found = points(counts, self.what)
            order = np.random.default_rng([self.seed, total]).permutation(len(found))
            chosen = [found[i] for i in order[: -(-len(found) // self.every)]][self.part :: WORKERS]
            total, tried = total + len(found), tried + len(chosen)
            for point in chosen:
                self._try(life, point)
        row = {"points": tried, "of": total, **{k: self.totals[k] for k in COUNTS}}
        return {**row, "typed_errors": dict(sorted(self.errors.items())), "failures": self.failures[:50]}

    def _dry(self, life: Any) -> dict[str, int]:
        ledger, status = self._child(life, None, lambda folder: None)
        counts = [words for what, *words in ledger if what == "seen"]
        if status or not counts or any(what in ("e", "x") for what, *_ in ledger):
            raise RuntimeError(f"The life '{life.name}' fails by itself: {ledger[-3:]}, status {status}")
        return dict(zip(KINDS, map(int, counts[0])))

    def _try(self, life: Any, point: Point) -> None:
        bad: Counter[str] = Counter()
        told: list[str] = []

        def look(folder: Path) -> None:
            answer, status = self._fork(lambda say: say("c", *life.check(folder, ledger_of[0]).values()), PATIENCE)
            if status == "hang":
                bad["hangs"] += 1
            elif not answer or answer[-1][0] != "c":
                told.append(f"it does not open: {answer[-1:]} {status}")
                bad["lost"] += 1
            else:
                bad.update(dict(zip(COUNTS, map(int, answer[-1][1:]))))

        ledger_of: list[Any] = [None]
        ledger, status = self._child(life, point, look, ledger_of)
        self.errors.update(words[0] for what, *words in ledger if what == "e")
        untyped = [" ".join(words) for what, *words in ledger if what == "x"]
        bad["untyped"] += len(untyped)
        bad["hangs"] += status == "hang"
        killed = self.what == "kill" and status == -signal.SIGKILL
        bad["died"] += status != "hang" and bool(status) and not killed
        self.totals.update({k: bad[k] for k in COUNTS})
        if any(bad[k] for k in COUNTS):
            what = {k: bad[k] for k in COUNTS if bad[k]}
            self.failures.append(f"{life.name}, {point.name}: {what} {untyped[:1]} {told}"[:600])

    def _child(self, life: Any, point: Point | None, then: Any, ledger_of: list[Any] | None = None) -> Any:
        """A life in a process and a folder of its own, then ``then`` of the folder; what it said and its status."""
        self.number += 1
        folder = self.place / f"life{self.number}"
        folder.mkdir()

        def live(say: Any) -> None:
            self.calls.roots(folder)
            self.calls.arm(point)
            try:
                life.live(folder, say)
            finally:
                self.calls.disarm()
                say("seen", *self.calls.seen().values())

        ledger, status = self._fork(live, PATIENCE)
        if ledger_of is not None:
            ledger_of[0] = ledger
        then(folder)
        if not (os.environ.get("KEEP_FAILED") and point is not None):
            shutil.rmtree(folder, ignore_errors=True)
        return ledger, status

    @staticmethod
    def _fork(work: Any, patience: float) -> tuple[list[list[str]], Any]:
        """What ``work(say)`` said in a forked child, and how that ended: 0, a negative signal, or "hang"."""
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read)

            def say(*words: object) -> None:
                os.write(write, (" ".join(str(w).replace("\n", " ") for w in words) + "\n").encode())

            code = 0
            try:
                signal.alarm(int(patience))
                work(say)
            except BaseException as error:
                place = error.__traceback__
                while place is not None and place.tb_next is not None:
                    place = place.tb_next
                where = "" if place is None else f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}"
                say("x", repr(error), where)
            os._exit(code)
        os.close(write)
        with open(read, errors="replace") as pipe:
            text = pipe.read()
        status: Any = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status == -signal.SIGALRM:
            status = "hang"
        lines = [line.split() for line in text.splitlines() if line]
        return [line for line in lines if line], status


def main() -> int:
    what, every, seed, place, part, which = sys.argv[1:7]
    lives = lives_of(which)
    gc.freeze()  # what is there is not looked at again, and so not copied, in every child
    print(json.dumps(Worker(Path(place), what, int(every), int(seed), int(part), lives).run()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
