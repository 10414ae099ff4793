"""Training anew without a subject: the calls a learner got are made again to a second one, which never sees it.

Exactness. The result is, bit for bit, that of a learner made with the same configuration and seed that got the same
calls in the same order without the samples of the subject (and of those forgotten since the state it starts from). Each
purpose has a generator of its own, advanced by what that learner draws; nothing is taken over from the run that saw the
subject. A `learn` without a sample changes nothing. What a clock, a load or another thread decided is repeated: a
`learn` that was ended early ends after as many steps; samples that came while one ran come before the same step of it.
Swaps are waited for, whatever the learner's mode; the day's write budget never runs short.

The second learner has a store of its own inside the folder of the first (`storage.replacing`), which takes the first
one's place when everything is on flash: until then the old state is whole, whatever happens.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import checkpoint
from ..budget.give_back import give_back
from ..errors import CannotRetrain, EdgeclError
from ..storage import SampleStore, replacing
from .calls import LEARNED, OBSERVED, STORED, TASK_ENDED, Call
from .forgetting import Receipt, forget, seal
from .starts import Start, choose
from .twin import PIECE, second

if TYPE_CHECKING:
    from ..learner import Learner



@dataclass(frozen=True)
class Retrained:
    """What `Learner.retrain_without` did.

    start : what it began from: ``seed``, or the state kept at the end of a task
    without : subjects whose samples the weights have now never seen
    calls : replayed, by kind;  samples, steps : of the replay;  seconds : it took;  time : its end, since the epoch
    forgotten : the receipt of the samples themselves
    """

    subject: int
    start: str
    without: list[int]
    calls: dict[str, int]
    samples: int
    steps: int
    seconds: float
    time: float
    forgotten: Receipt

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def retrain(learner: Learner, subject: int) -> Retrained:
    """For the thread that holds the learner's ``_work``. Raises `CannotRetrain` before anything is changed, or when
    it was stopped; the subject's samples are then forgotten, the weights as they were.
    """
    began = time.monotonic()
    start = choose(learner, subject)
    store = learner._parts.store
    assert store is not None
    _afford(learner, store)
    with learner._observing:
        receipt = forget(learner, subject)
    folder, beside = replacing.begin(store.path)
    replay = None
    try:
        replay = Replay(learner, start, folder, beside)
        replay.catch_up()
        with learner._observing:
            replay.catch_up()
            replay.check()
            _write(learner, replay, start, beside)
            replay.scratch.close()
            replacing.commit(store.path)
            learner._reopen()
    except BaseException:
        if replay is not None:
            replay.scratch.close()
        if not replacing.committed(store.path):
            shutil.rmtree(folder.parent, ignore_errors=True)
        raise
    done = Retrained(
        subject=subject,
        start=start.name,
        without=sorted(start.without),
        calls=dict(replay.calls),
        samples=replay.samples,
        steps=learner._trainer.steps - replay.first_step,
        seconds=time.monotonic() - began,
        time=time.time(),
        forgotten=receipt,
    )
    del replay
    give_back()  # the two learners of before hold memory and open files
    return done


def _afford(learner: Learner, store: SampleStore) -> None:
    """The samples are written once more, and RAM holds a second learner: refuse when there is no room for that."""
    ram, more = learner._session.guard.memory, learner.plan.growth_bytes
    both = max(ram.use(), learner.plan.peak_bytes - ram.baseline) + more
    if ram.limit is not None and both > ram.limit:
        raise CannotRetrain(
            f"A second learner of {more / 1e6:.1f} MB does not fit the budget of {ram.limit / 1e6:.1f} MB of RAM.",
            f"Learner.open(path, budget=Budget(ram={math.ceil(both / 1e6)}_000_000)) gives it room.",
        )
    need = store.bytes
    free = os.statvfs(store.path)
    if need > free.f_bavail * free.f_frsize:
        raise CannotRetrain(
            f"A second store of {need / 1e6:.1f} MB does not fit beside the first.", "Make room on its medium."
        )
    if not store.wear.allows(need):
        raise CannotRetrain(
            f"It writes {need / 1e6:.1f} MB, more than the flash may take today.",
            f"Try again in {store.wear.wait_seconds(need) / 3600:.0f} h, or raise flash_writes_per_day.",
        )


class Replay:
    """The second learner, ``scratch``, and how far it has come."""

    def __init__(self, learner: Learner, start: Start, folder: Path, beside: Path) -> None:
        self.learner, self.start = learner, start
        self.next = start.number
        self.calls: Counter[str] = Counter()
        self.samples = 0
        self.scratch = second(learner, start, folder, beside)
        self.first_step = self.scratch._trainer.steps

    def catch_up(self) -> None:
        """Repeat the calls not repeated yet."""
        log = self.learner._calls
        if self.next < log.first:
            raise CannotRetrain("More calls came meanwhile than the log holds.", "Pause the samples, and try again.")
        calls = deque(log.since(self.next))
        self.next = log.end
        while calls:
            call = calls.popleft()
            self._check_stop()
            if call.kind in (OBSERVED, STORED):
                self._give(call)
            elif call.kind == LEARNED:
                during = deque[Call]()
                while calls and calls[0].kind == OBSERVED and calls[0].c >= 0:
                    during.append(calls.popleft())
                self._learn(call, during)
            elif call.kind == TASK_ENDED:
                self.scratch.end_task()
                self.calls["end_task"] += 1

    def check(self) -> None:
        """Every sample that was not forgotten has been given: none was evicted or found damaged meanwhile."""
        store = self.learner._parts.store
        assert store is not None
        wanted = store.next_id - self.start.next_id - (store.forgotten_count - self.start.forgotten_count)
        if self.samples != wanted:
            raise CannotRetrain(
                f"{wanted - self.samples} samples could no longer be read when their turn came.",
                "Run `edgecl store verify`; a larger store_limit keeps more.",
            )

    def _check_stop(self) -> None:
        if self.learner._stop.is_set():
            raise CannotRetrain("stop() was called; the weights are as they were.", "Call retrain_without() again.")

    def _learn(self, call: Call, during: deque[Call]) -> None:
        def arrive(steps: float) -> None:
            while during and during[0].c <= steps:
                self._give(during.popleft())

        if len(self.scratch._buffer):
            steps = call.c if call.c >= 0 else call.b or None
            number = self.scratch._calls.end
            self.scratch._learn(steps, call.a or None, None, arrive)
            self._check_stop()
            if call.c >= 0:
                self.scratch._calls.ended_after(number, call.c)
            self.calls["learn"] += 1
        arrive(float("inf"))

    def _give(self, call: Call) -> None:
        store, names = self.learner._parts.store, self.learner._labels.labels
        assert store is not None
        for at in range(call.a, call.a + call.b, PIECE):
            got = store.read(np.arange(at, min(at + PIECE, call.a + call.b)), fields=())
            ok = got["ok"]
            if ok.any():
                y = [names[c] for c in got["classes"][ok].tolist()]
                x, subjects, times = (got[k][ok] for k in ("samples", "subjects", "times"))
                self.scratch._take(x, y, subjects, times, buffered=call.kind == OBSERVED)
                self.samples += len(x)
        self.calls["observe"] += 1


def _write(learner: Learner, replay: Replay, start: Start, beside: Path) -> None:
    """What goes with the new store: its state, and what outlives the old one."""
    scratch, old = replay.scratch, learner._parts.store
    made = scratch._parts.store
    assert made is not None and old is not None
    made.note_forgotten(old.forgotten())
    replaced = [*_replaced(old), old.id]
    made.meta_set({"replaced": json.dumps(replaced).encode()})
    made.wear.take(old.wear)
    made.flush()
    state = scratch._state()
    about = learner._state()["learner"]
    state["learner"]["replaced"] = replaced
    for name in ("config", "energy", "unstored", "task_name"):
        state["learner"][name] = about[name]
    state["learner"]["train_seconds"] += about["train_seconds"]
    checkpoint.save(beside, seal(state, scratch._sealing))


def pending(store: str | Path | None, saved: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
    """The state that goes with a store which has just been replaced, if its learner, ``saved``, has not taken it over
    yet. Another learner's folder must not get it.
    """
    folder = None if store is None else replacing.beside(Path(store))
    if folder is None:
        return None
    state = checkpoint.load(folder)
    if state is None:
        raise EdgeclError(f"The learner trained anew cannot be read from {folder}.", "Make a new Learner, and save it.")
    about, ours = state["learner"], None if saved is None else saved["learner"].get("store_id")
    if ours is not None and ours not in (about["store_id"], *about.get("replaced", [ours])):
        raise EdgeclError(f"'{store}' is not the store that this learner was saved with.", "Give that one as store=.")
    return state


def drop_pending(learner: Learner) -> None:
    """A learner that did not take the state over has saved one of its own."""
    store = learner._parts.store
    if store is not None and replacing.beside(store.path) is not None:
        replacing.done(store.path)


def _replaced(store: SampleStore) -> list[str]:
    """Ids of the stores in whose place this one stands."""
    found = store.meta_get("replaced")
    return [] if found is None else json.loads(found)


def check_store(learner: Learner, saved: Mapping[str, Any]) -> None:
    """Refuse a state that does not belong to the store: ids in it mean other samples there."""
    store, expected = learner._parts.store, saved["learner"].get("store_id")
    if store is None or expected in (None, store.id):
        return
    if expected in _replaced(store):
        raise EdgeclError(
            "This state was saved before its learner was trained anew without a subject.",
            "Open the folder that the learner was saved to then, or later.",
        )
    raise EdgeclError(f"'{store.path}' is not the store that this learner was saved with.", "Give that one as store=.")


def take_over(learner: Learner) -> None:
    """Every saved state of the learner becomes the one that came with its new store."""
    store = learner._parts.store
    folder = None if store is None else replacing.beside(store.path)
    if store is None or folder is None:
        return
    state = checkpoint.load(folder)
    assert state is not None
    for saved in learner._folders:
        for _ in range(2):  # both generations
            checkpoint.save(saved, state)
    if learner.path is not None:
        for path in learner.path.glob("kept-*.safetensors"):
            path.unlink()
        for path in folder.glob("kept-*.safetensors"):
            checkpoint.write(learner.path / path.name, checkpoint.read(path))
    replacing.done(store.path)

