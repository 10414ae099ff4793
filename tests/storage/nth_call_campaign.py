"""Every call that touches flash fails once, or from then on, or is the last one of its process; then the store is
opened.

Run as a program it is the worker, with the library of failing_calls.c preloaded: it forks a child for each point.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib
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
from edgecl.storage import _storage
from failing_calls import CALLS, KILL_AFTER, KILL_BEFORE, KINDS, Calls, Point, build
from store_life import ForgetLife, StoreLife

WORKERS = 2
PATIENCE = 20  # seconds a life or its check may take
COUNTS = ("lost", "wrong", "leaked", "untyped", "died", "hangs")
OURS = ("_storage.cpython", "_kernels.cpython")  # modules whose allocations fail


def lives_of(which: str) -> list[Any]:
    """Lives to live; a learner's are imported only where they are wanted."""
    found: list[Any] = [StoreLife(False), StoreLife(True)] if which in ("store", "all") else []
    if which == "forget":
        found.append(ForgetLife())
    if which in ("learner", "all"):
        from learner_life import LIVES, LearnerLife

        from edgecl.engine.warm import warm

        warm()  # once, not in every child
        found += [LearnerLife(*kind) for kind in LIVES]
    return found


def nth_call(
    place: Path, rounds: int, seed: int, lives: str = "all", progress: Path | None = None, workers: int = WORKERS
) -> dict[str, Any]:
    """Failing calls; one in ``rounds`` points is tried, drawn with the seed. lives: ``store``, ``learner`` or ``all``.

    progress: folder that notes what is done; points noted there are not tried again, by however many workers.
    """
    return _campaign(place, "fail", rounds, seed, lives, progress, workers)


def placed_kills(
    place: Path, rounds: int, seed: int, lives: str = "all", progress: Path | None = None, workers: int = WORKERS
) -> dict[str, Any]:
    """SIGKILL before and after each call; likewise."""
    return _campaign(place, "kill", rounds, seed, lives, progress, workers)


def _campaign(
    place: Path, what: str, rounds: int, seed: int, lives: str, progress: Path | None, workers: int
) -> dict[str, Any]:
    began = time.perf_counter()
    library = build(place)
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    environment = {**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": path}
    running = []
    for part in range(workers):
        folder = place / f"worker{part}"
        folder.mkdir()
        notes = "" if progress is None else str(progress)
        parts = f"{part}/{workers}"
        command = [sys.executable, "-P", __file__, what, str(rounds), str(seed), str(folder), parts, lives, notes]
        pipe = subprocess.PIPE
        running.append(subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True))
    total: Counter[str] = Counter(dict.fromkeys(("points", "memory_errors", "seconds", *COUNTS), 0))
    typed: Counter[str] = Counter()
    failures: list[str] = []
    for worker in running:
        out, errors = worker.communicate()
        if worker.returncode:
            raise RuntimeError(f"A worker ended with {worker.returncode}: {errors[-2000:]}")
        row = json.loads(out)
        typed.update(row["typed_errors"])
        failures += row["failures"]
        total.update({k: row[k] for k in total})
    seconds = round(max(time.perf_counter() - began, total["seconds"] / workers), 1)  # earlier sittings included
    told = {"typed_errors": dict(sorted(typed.items())), "failures": failures[:50]}
    return {**total, "of": row["of"], **told, "seconds": seconds}


# --- the worker --------------------------------------------------------------------------------------------


def points(counts: dict[str, int], what: str) -> list[Point]:
    """All points of a life that makes so many calls of each kind."""
    every = [(kind, n) for kind in CALLS for n in range(counts[kind])]
    if what == "kill":
        return [Point(k, n, mode=m) for k, n in every for m in (KILL_BEFORE, KILL_AFTER)]
    calls = [Point(k, n, e, s) for k, n in every for e in (errno.EIO, errno.ENOSPC) for s in (False, True)]
    return calls + [Point("allocation", n, errno.ENOMEM, s) for n in range(counts["allocation"]) for s in (False, True)]


class Worker:
    """Tries one in so many of the chosen points: ``part`` is (which, of how many). notes: a folder that says which are
    done."""

    def __init__(
        self,
        place: Path,
        what: str,
        every: int,
        seed: int,
        part: tuple[int, int],
        lives: list[Any],
        notes: Path | None = None,
    ) -> None:
        self.lives, self.notes = lives, notes
        self.place, self.what, self.every, self.seed, self.part = place, what, every, seed, part
        self.calls = Calls()
        self.calls.modules(*OURS)
        # A third party's abort, which is not what is tried: nanobind cannot go on when its table of objects cannot
        # grow. It is large enough beforehand.
        _ = [_storage.SlotSet(1) for _ in range(256)]
        self.number = 0

    def run(self) -> dict[str, Any]:
        files = [] if self.notes is None else sorted(self.notes.glob(f"{self.what}-*.jsonl"))
        noted = [line for file in files for line in file.read_text().splitlines()]
        done = {row["point"]: row for row in map(json.loads, noted)}
        total, tried = 0, []
        for life in self.lives:
            found = points(self._dry(life), self.what)
            order = np.random.default_rng([self.seed, total]).permutation(len(found))
            which, of = self.part
            chosen = [found[i] for i in order[: -(-len(found) // self.every)]][which::of]
            total += len(found)
            for point in chosen:
                name = f"{life.name}, {point.name}"
                tried.append(done.get(name) or self._noted({"point": name, **self._try(life, point)}))
        errors: Counter[str] = Counter()
        for row in tried:
            errors.update(row["errors"])
        sums = {k: sum(row["bad"].get(k, 0) for row in tried) for k in COUNTS}
        failures = [f"{row['point']}: {row['bad']} {row['told']}"[:600] for row in tried if any(row["bad"].values())]
        row = {"points": len(tried), "of": total, **sums, "seconds": sum(row["seconds"] for row in tried)}
        row["memory_errors"] = errors.pop("MemoryError", 0)
        return {**row, "typed_errors": dict(sorted(errors.items())), "failures": failures[:50]}

    def _noted(self, row: dict[str, Any]) -> dict[str, Any]:
        if self.notes is not None:
            with (self.notes / f"{self.what}-{self.part[0]}.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
        return row

    def _dry(self, life: Any) -> dict[str, int]:
        ledger, status = self._child(life, None, lambda folder: None)
        counts = [words for what, *words in ledger if what == "seen"]
        if status or not counts or any(what in ("e", "x") for what, *_ in ledger):
            raise RuntimeError(f"The life '{life.name}' fails by itself: {ledger[-3:]}, status {status}")
        for name in next((words for what, *words in ledger if what == "modules"), []):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)  # once, not in every child
        gc.freeze()  # what is there is not looked at again, and so not copied, in every child
        return dict(zip(KINDS, map(int, counts[0])))

    def _try(self, life: Any, point: Point) -> dict[str, Any]:
        """What was bad at a point, which errors it gave, and what was told of it."""
        began = time.perf_counter()
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
        errors = Counter(words[0] for what, *words in ledger if what == "e")
        untyped = [" ".join(words) for what, *words in ledger if what == "x"]
        if "MemoryError" in errors and point.kind != "allocation":
            untyped.append("MemoryError")
        bad["untyped"] += len(untyped)
        bad["hangs"] += status == "hang"
        killed = self.what == "kill" and status == -signal.SIGKILL
        bad["died"] += status != "hang" and bool(status) and not killed
        seconds = round(time.perf_counter() - began, 4)
        return {"bad": +bad, "errors": errors, "told": [*untyped[:1], *told], "seconds": seconds}

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
                if point is None:
                    say("modules", *sys.modules)

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
    what, every, seed, place, part, which, notes = sys.argv[1:8]
    noted = Path(notes) if notes else None
    number, of = map(int, part.split("/"))
    worker = Worker(Path(place), what, int(every), int(seed), (number, of), lives_of(which), noted)
    print(json.dumps(worker.run()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
