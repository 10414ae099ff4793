"""Training anew without a subject: the calls a learner got are made again to a second one, which never sees it.

Exactness. The result is, bit for bit, that of a learner made with the same configuration and seed that got the same
calls in the same order without the samples of the subject (and of those forgotten since the state it starts from). Each
purpose has a generator of its own, advanced by what that learner draws; nothing is taken over from the run that saw the
subject. A `learn` without a sample changes nothing. What a clock, a load or another thread decided is repeated: a
`learn` that was ended early ends after as many steps; samples that came while one ran come before the same step of it.
A sample that was relabelled has its last label from the start; one that got its label late comes when it got it. Swaps
are waited for, whatever the learner's mode; the day's write budget never runs short.

The second learner has a store of its own inside the folder of the first (`storage.replacing`), which takes the first
one's place when everything is on flash: until then the old state is whole, whatever happens.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import checkpoint
from ..errors import CannotRetrain
from ..give_back import give_back
from ..intake.intake import PIECE
from ..learning.stopping import Stopping
from ..storage import SampleStore, replacing
from .calls import LABELLED, LEARNED, OBSERVED, OF_IDS, REMOVED, STORED, TASK_ENDED, Call
from .forgetting import Receipt
from .pending import replaced_stores
from .sealing import seal
from .starts import Start
from .twin import MakeTwin, Twin, make_twin


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


@dataclass(frozen=True)
class Replacing:
    """How a learner that is trained anew is forgotten by, doubled and replaced.

    forget : of the subject, by the first learner
    make : a twin, see `twin.MakeTwin`
    adopt : go on with what was written beside the store that took the first one's place
    stop : set to give up
    """

    forget: Callable[[int], Receipt]
    make: MakeTwin
    adopt: Callable[[], None]
    stop: Stopping


def retrain(original: Twin, subject: int, start: Start, how: Replacing) -> Retrained:
    """For the thread that may train ``original``. Raises `CannotRetrain` before anything is changed, or when it was
    stopped; the subject's samples are then forgotten, the weights as they were.
    """
    began = time.monotonic()
    store, lock = original.store, original.intake.lock
    assert store is not None
    check_flash_room(store)
    with lock:
        receipt = how.forget(subject)
    folder, beside = replacing.begin(store.path)
    replay = None
    try:
        replay = Replay(original, start, make_twin(original, start, folder, beside, how.make), how.stop)
        replay.catch_up()
        with lock:
            replay.catch_up()
            replay.check()
            steps = replay.twin.steps
            _write(original, replay.twin, beside)
            replay.twin.close()
            store.give_way()
            how.adopt()
    except BaseException:
        if replay is not None:
            replay.twin.close()
        if not replacing.committed(store.path):
            shutil.rmtree(folder.parent, ignore_errors=True)
        raise
    done = Retrained(
        subject=subject,
        start=start.name,
        without=sorted(start.without),
        calls=dict(replay.calls),
        samples=replay.samples,
        steps=steps - replay.first_step,
        seconds=time.monotonic() - began,
        time=time.time(),
        forgotten=receipt,
    )
    del replay
    give_back()  # the two learners of before hold memory and open files
    return done


def check_flash_room(store: SampleStore) -> None:
    """The samples are written once more: refuse when there is no room for that."""
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
    """The twin, and how far it has come with the calls of the original."""

    def __init__(self, original: Twin, start: Start, twin: Twin, stop: Stopping) -> None:
        self.original, self.start, self.twin, self._stop = original, start, twin, stop
        self.next = start.number
        self.calls: Counter[str] = Counter()
        self.samples = self.removed = 0
        self.first_step = twin.steps
        self._late = np.zeros(0, np.int64)  # samples that got their label after they were observed

    def catch_up(self) -> None:
        """Repeat the calls not repeated yet."""
        log = self.original.diary.calls
        if self.next < log.first:
            raise CannotRetrain("More calls came meanwhile than the log holds.", "Pause the samples, and try again.")
        calls = deque(log.since(self.next))
        late = [np.arange(c.a, c.a + c.b) for c in calls if c.kind == LABELLED]
        self._late = np.concatenate([self._late, *late])
        self.next = log.end
        while calls:
            call = calls.popleft()
            self._check_stop()
            if call.kind in (*OF_IDS, LABELLED):
                self._give(call)
            elif call.kind == REMOVED:
                self.removed += call.b
            elif call.kind == LEARNED:
                during = deque[Call]()
                while calls and calls[0].kind == OBSERVED and calls[0].c >= 0:
                    during.append(calls.popleft())
                self._learn(call, during)
            elif call.kind == TASK_ENDED:
                self.twin.end_task()
                self._check_stop()
                self.calls["end_task"] += 1

    def check(self) -> None:
        """Every sample that was not forgotten has been given: none was evicted or found damaged meanwhile."""
        store = self.original.store
        assert store is not None
        wanted = store.next_id - self.start.next_id - (store.forgotten_count - self.start.forgotten_count)
        wanted -= self.removed
        if self.samples != wanted:
            raise CannotRetrain(
                f"{wanted - self.samples} samples could no longer be read when their turn came.",
                "Run `edgecl store verify`; a larger store_limit keeps more.",
            )

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise CannotRetrain("stop() was called; the weights are as they were.", "Call retrain_without() again.")

    def _learn(self, call: Call, during: deque[Call]) -> None:
        def arrive(steps: float) -> None:
            while during and during[0].c <= steps:
                self._give(during.popleft())

        if not self.twin.idle:
            self.twin.learn_again(call.b or None, call.a or None, call.c if call.c >= 0 else None, arrive)
            self._check_stop()
            self.calls["learn"] += 1
        arrive(float("inf"))

    def _give(self, call: Call) -> None:
        store, names = self.original.store, self.original.intake.labels.labels
        assert store is not None
        for at in range(call.a, call.a + call.b, PIECE):
            got = store.read(np.arange(at, min(at + PIECE, call.a + call.b)), fields=())
            ids, ok = got["ids"], got["ok"] & (got["classes"] >= 0)
            if call.kind == STORED:
                ok &= ~np.isin(ids, self._late)  # their label came later, and they with it
            if ok.any():
                y = [names[c] for c in got["classes"][ok].tolist()]
                x, subjects, times = (got[k][ok] for k in ("samples", "subjects", "times"))
                self.twin.take(x, y, subjects, times, buffered=call.kind != STORED)
                self.samples += len(x)
        self.calls["observe"] += 1


def _write(original: Twin, twin: Twin, beside: Path) -> None:
    """What goes with the new store: its state, and what outlives the old one."""
    old, made = original.store, twin.store
    assert made is not None and old is not None
    made.note_forgotten(old.forgotten())
    replaced = [*replaced_stores(old), old.id]
    made.meta_set({"replaced": json.dumps(replaced).encode()})
    made.wear.take(old.wear)
    made.flush()
    state = twin.state()
    about = original.state()["learner"]
    state["learner"]["replaced"] = replaced
    for name in ("config", "energy", "unstored", "task_name", "front", "lineage", "generation"):
        if name in about:
            state["learner"][name] = about[name]
    state["learner"]["train_seconds"] += about["train_seconds"]
    checkpoint.save(beside, seal(state, twin.sealing))
