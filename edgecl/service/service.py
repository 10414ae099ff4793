"""Service: a learner with the three threads that serve it, its pool, journal and schedule. Knows nothing of HTTP."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from .. import __version__
from ..errors import EdgeclError
from ..storage.errors import StoreError, StoreFull
from .bodies import Samples, check_label
from .boots import Boots
from .config import RELOADABLE, ServiceConfig
from .corrections import Corrections
from .device import device_facts
from .events import Events
from .feeds import Feeds
from .fleet import FleetSide
from .held import Held
from .journal import Journal
from .pool import Pool
from .predicting import Answer, PredictThread
from .refusals import Refused
from .repeats import Repeats, answer_of
from .reserve import Reserve, no_space
from .schedule import Schedule
from .taking import IntakeThread
from .watching import Watching
from .work import Job, WorkThread

LOG = logging.getLogger("edgecl.service")


class Service:
    """What the verbs act on. Made with an open learner; `close` gives everything back.

    safe : why it is in safe mode (predictions only), or None
    """

    def __init__(
        self, config: ServiceConfig, held: Held, journal: Journal, boots: Boots, safe: str | None = None
    ) -> None:
        self.config, self.held, self.journal, self.safe = config, held, journal, safe
        self.boots, self.full, self.began = boots, False, time.monotonic()
        self.loss: float | None = None
        self.saves = {"good": 0, "failed": 0}
        self.reserve = Reserve(config.state, config.serve.reserve or held.state_bytes)
        self.reserve.keep()
        self.reload: Callable[[], list[str]] = list  # reads the configuration again; the daemon's
        self.events = Events()
        self.pool, self.feeds = Pool(config.pool), Feeds()
        self.repeats = Repeats(config.state / "repeats.json")
        self.schedule = Schedule(held, config.learn, self._after_slice, self.checkpoint)
        self.schedule.held_by = safe
        self.work = WorkThread(self.schedule)
        self.predicting = PredictThread(held, held.predict_batch, config.serve.waiting_rows)
        self.watching = Watching(config, held, journal)
        self.schedule.before_slice = self.watching.before_slice
        self.corrections = Corrections(config.state, held, self.watching)
        self.intake = IntakeThread(self.watching.flush)
        self.fleet = FleetSide(config, held, journal, self.watching, self.schedule, lambda: self.safe)
        journal.listener = lambda entry: self.events.tell("decision", entry)

    def start(self) -> None:
        self.work.start()

    # -- use

    def predict(self, decode: Callable[[], Samples], rows: int) -> Future[Answer]:
        return self.predicting.ask(decode, rows)

    def keep(self, answer: Answer, rows: list[int]) -> list[str | None]:
        """An id for each sample of ``rows`` of an answer, now in the pool; None for the others."""
        ids: list[str | None] = [None] * len(answer.labels)
        if rows:
            labels = [answer.labels[i] for i in rows]
            for i, name in zip(rows, self.pool.add(answer.x[rows], labels, answer.shares[rows])):
                ids[i] = name
            self.events.tell("pool", {"samples": len(self.pool)})
        return ids

    def observe(self, decode: Callable[[], Samples], size: int, durable: bool, key: str | None) -> Future[Any]:
        """(ids, whether they are on flash) of labelled samples, taken by the intake thread."""
        self.check_learns()

        def take() -> dict[str, Any]:
            known = self.repeats.find(key)
            if known is not None:
                return known
            samples = decode()
            self.watching.guess(samples)
            ids = self._take(samples)
            self.repeats.keep(key, ids)
            return answer_of(ids)

        return self.intake.ask(lambda: self._with_room(take), size, durable and self.held.durable)

    def _with_room(self, work: Callable[[], Any]) -> Any:
        """``work()``, noting whether the disk is full."""
        try:
            result = work()
        except StoreFull:
            self._is_full(True)
            raise
        self._is_full(False)
        return result

    def _is_full(self, full: bool) -> None:
        if full != self.full:
            self.full = full
            self.journal.write("disk full" if full else "disk has room", self.held.steps)

    def _take(self, samples: Samples) -> list[int]:
        if self.held.changes_task(samples):  # it ends a task, which excludes what trains
            ids = self.work.submit("task", lambda: self.watching.observe(samples)).future.result()
        else:
            ids = self.watching.observe(samples)
        if self.schedule.wants_to_learn():
            self.work.wake()
        return ids

    def label(self, given: list[dict[str, Any]], durable: bool) -> Future[Any]:
        """Labels for samples of the pool: one row each, with the status of a request for it alone."""
        self.check_learns()
        for row in given:
            check_label(row["label"])
        work = lambda: self._with_room(lambda: [self._label(row) for row in given])  # noqa: E731
        return self.intake.ask(work, 0, durable and self.held.durable)

    def _label(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            waiting = self.pool.get(row["id"])
            ids = self._take(Samples(waiting.x[None], row["label"], row.get("subject")))
        except Refused as refused:
            return {"id": row["id"], "status": refused.status, "cause": refused.cause}
        self.pool.labelled(row["id"])
        return {"id": row["id"], "status": 202, "sample": ids[0]}

    # -- admin

    def learn(self, **asked: Any) -> Job:
        self.check_learns()
        return self.work.submit("learn", lambda: self._learn(asked))

    def _learn(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.watching.before_slice()
        log = self.held.learn(**(asked or {"seconds": self.schedule.config.slice}))
        self._after_slice(log)
        return log

    def _after_slice(self, log: dict[str, Any]) -> None:
        if log["steps"]:
            about = {k: log[k] for k in ("steps", "loss", "seconds", "stopped")}
            self.journal.write("slice", self.held.steps, **about)
            self.events.tell("step", {"steps": self.held.steps, "loss": log["loss"]})
            self.loss = log["loss"]
            self.watching.after_slice(log["steps"], self.schedule)
            self.events.tell("accuracy", self.watching.facts())

    def job(self, kind: str, work: Callable[[], Any]) -> Job:
        """A verb of the learner on the work thread, noted in the journal when it is done."""
        self.check_learns()

        def noted() -> Any:
            result = work()
            self.journal.write(kind, self.held.steps)
            return result

        return self.work.submit(kind, noted)

    def checkpoint(self) -> dict[str, Any]:
        """Save the state; on the work thread."""
        try:
            try:
                folder = self.held.save()
            except (OSError, EdgeclError, StoreError) as error:
                if not (no_space(error) and self.reserve.held):
                    raise
                self.reserve.give_up()
                folder = self.held.save()
            self.watching.save()
            self.repeats.save()
        except (OSError, EdgeclError, StoreError) as error:
            self.saves["failed"] += 1
            self.journal.write("not saved", self.held.steps, cause=getattr(error, "cause", str(error)))
            raise
        self.schedule.saved_now()
        self.saves["good"] += 1
        self.journal.write("saved", self.held.steps)
        return {"folder": str(folder)}

    def forget(self, subject: int, retrain: bool = False) -> Job:
        """``retrain``: also make the weights again without the subject."""

        def work() -> Any:
            if retrain:
                self.watching.give_all_back()  # samples get other ids
            receipt = self.held.retrain_without(subject) if retrain else self.held.forget(subject)
            self.watching.forgot(subject)
            self.pool.clear()
            rounds = self.fleet.sent_rounds()  # what they carried is with others
            return {**receipt, "fleet_rounds": rounds} if rounds else receipt

        return self.job("retrain" if retrain else "forget", work)

    def pause(self) -> None:
        self.schedule.paused = True
        self.held.stop()
        self.journal.write("paused", self.held.steps)

    def resume(self) -> None:
        """Learn again, also after safe mode."""
        self.schedule.paused = False
        self.safe = self.schedule.held_by = None
        self.boots.well()
        self.schedule.passed()
        self.journal.write("resumed", self.held.steps)
        self.work.wake()

    # -- what there is to know

    @property
    def idle_seconds(self) -> float:
        return time.monotonic() - self.work.since if self.work.busy else 0.0

    def check_learns(self) -> None:
        """Raise `Refused` (503) in safe mode."""
        if self.safe is not None:
            raise Refused(503, f"Safe mode: {self.safe}.", "See the journal; `edgecl ctl resume` ends it.")

    @property
    def not_ready(self) -> str | None:
        """Why requests should go elsewhere, or None."""
        return None if self.safe is None else f"safe mode: {self.safe}"

    def status(self) -> dict[str, Any]:
        """Everything, as one object."""
        held, schedule, facts = self.held, self.schedule, self.held.facts()
        return {
            "version": __version__,
            "up_seconds": round(time.monotonic() - self.began, 1),
            "ready": self.not_ready is None, "reason": self.not_ready,
            "busy": self.work.busy, "jobs_waiting": self.work.waiting,
            "model": {"steps": held.steps, "slot": held.slot},
            "labels": facts.pop("labels"),
            "input": {"shape": list(held.spec.shape), "dtype": held.spec.dtype, "front": held.front},
            "learning": {
                "when": schedule.config.when, "paused": schedule.paused, "held_by": schedule.held_by,
                "waits_seconds": round(schedule.waits, 1), "fresh": held.fresh,
                "failure": None if self.work.failure is None else str(self.work.failure),
            },
            "accuracy": self.watching.facts(),
            "pool": {"samples": len(self.pool), "bytes": self.pool.bytes},
            "saved_seconds_ago": round(schedule.since_saved, 1),
            "unsaved": held.unsaved, "disk_full": self.full, "loss": self.loss,
            "device": device_facts(held, self.config.budget, facts),
            "counters": facts,
        }  # fmt: skip

    def reconfigure(self, fresh: ServiceConfig) -> list[str]:
        """Take over what a running daemon can; names of what else changed, which needs a restart."""
        old, new = self.config.flat(), fresh.flat()
        changed = [name for name in new if new[name] != old[name]]
        later = [name for name in changed if name not in RELOADABLE]
        later += [s for s in ("learner", "budget") if getattr(fresh, s) != getattr(self.config, s)]
        taken = {section: {n.partition(".")[2]: new[n] for n in changed if n in RELOADABLE and n.startswith(section)}
                 for section in ("serve", "learn", "holdout")}  # fmt: skip
        self.config = replace(self.config, **{s: replace(getattr(self.config, s), **v) for s, v in taken.items()})
        self.schedule.config = self.config.learn
        self.watching.holdout.options = self.config.holdout
        self.journal.write("reloaded", self.held.steps, changed=changed, needs_a_restart=later)
        self.work.wake()
        return later

    # -- the end

    def close(self, save: Callable[[], bool], limit: float) -> None:
        """Answer what waits, end what trains, save, close; at most about ``limit`` seconds of waiting for a step."""
        self.predicting.close()
        self.intake.close(self.work.nudge)  # it may wait for the work thread to end a task
        self._flush()
        ended = self.work.close(limit)
        if ended and save() and self.held.unsaved:
            try:
                self.checkpoint()
            except (OSError, EdgeclError, StoreError):
                LOG.error("the last state was not saved", extra={"event": "failure"})
        if ended:
            self.held.close()

    def _flush(self) -> None:
        try:
            self.watching.flush()
        except (OSError, EdgeclError, StoreError) as error:
            LOG.error("samples that nobody waited for may be lost: %s", error, extra={"event": "failure"})

