"""Life: a learner without its threads. The parts that train, take, remember and save, made and replaced together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .budget.stop import stop_text
from .erasure.amending import Amending
from .erasure.diary import Diary
from .erasure.forgetting import Receipt, forget
from .erasure.pending import check_store, pending, take_over
from .erasure.retrain import Replacing, Retrained, retrain
from .erasure.room import check_room
from .erasure.sealing import unseal
from .erasure.starts import choose, digest
from .intake.buffer import StreamBuffer
from .intake.intake import Intake, stored_labels
from .intake.labels import Label
from .intake.order import Order
from .intake.scale import ScaleWatch
from .intake.spec import SampleSpec
from .learning.answers import answers
from .learning.asked import Asked
from .learning.core import Core
from .learning.found import adopt, amending, catch_up, covers_of, hide_nameless
from .learning.learn import Teaching
from .learning.session import Session
from .learning.statistics import without_statistics
from .learning.stopping import Stopping
from .learning.tasks import Tasks
from .planning.configured import KEPT_LOGITS
from .planning.learner_plan import AHEAD, plan_learner
from .planning.setup import Setup, setup_like
from .plugins import provenance
from .saved_bounds import check_saved, fitting
from .saves import Saves
from .storage import SampleStore, fork

Array = np.ndarray


class Life:
    """Core, session, intake, tasks, diary and saves of one learner. For one thread at a time but where it says so.

    Parameters
    ----------
    setup : what it is made of
    saves : where it is saved, and how sealed
    stop : ends training after the present step when it is set
    baseline : bytes resident before

    closed : whether it was given back
    """

    def __init__(self, setup: Setup, saves: Saves, stop: Stopping, baseline: int) -> None:
        self.setup, self.saves, self.closed, self._born = setup, saves, False, fork.generation
        config, spec, network, front = setup.config, setup.spec, setup.wide_network, setup.front
        plan = plan_learner(config, network.graph, spec, setup.buffer, setup.budget, baseline, setup.free, front)
        identity = f"learner {spec.shape} {spec.dtype}"
        self.core = Core(plan, network, spec, identity, width=KEPT_LOGITS, root_key=saves.root_key, front=front)
        try:
            saves.store = self.core.parts.store
            known = len(stored_labels(self.store)) or len(network.labels)
            self.diary = Diary(setup.classes, known, digest(setup.weights), saves.path, setup.keep)
            options, p = plan.config, self.core.parts
            order = Order(options.batch, options.drop_last)
            of = spec, setup.buffer, self.store, AHEAD * options.batch, order, p.random["stream"]
            needs_flash = getattr(p.policy, "chooses_at_end", False)
            self.intake = Intake(StreamBuffer(*of), self.diary, self._log, needs_flash)
            if self.intake.know(network.labels) == network.labels and network.about.get("head") == "kept":
                self.core.see(np.arange(len(network.labels)))
            if spec.dtype == "float32":
                self.intake.buffer.scale = ScaleWatch(self.core.input_scale, setup.scale_is_open)
            self.tasks = Tasks(setup.tasks)
            self.session = Session(self.core.trainer, setup.budget, plan, stop, lambda step: self.teaching.shed(step))
            self.teaching = Teaching(self.core, self.session, self.intake, self.tasks, self.diary, self._task_ended)
        except BaseException:  # the store is for another try
            self.core.close()
            raise

    def _log(self, decision: str) -> None:
        self.core.trainer.log.append((self.core.trainer.steps, -1, decision))

    @property
    def forked(self) -> bool:
        """Whether this process is a fork of the one that made it: threads and locks are not what they were."""
        return fork.generation != self._born

    @property
    def store(self) -> SampleStore | None:
        return self.core.parts.store

    @property
    def spec(self) -> SampleSpec:
        """What a raw sample looks like, with the scale that was chosen for the input."""
        raw, scale = self.setup.raw, self.core.input_scale if self.intake.buffer.scale.chosen else None
        return raw if scale is None else replace(raw, mean=scale[0], std=scale[1])

    @property
    def sealing(self) -> Any:
        return self.core.sealing

    @property
    def idle(self) -> bool:
        return self.teaching.idle

    @property
    def steps(self) -> int:
        return self.core.trainer.steps

    # -- what a learner does

    def take(
        self, x: Array, y: list[Label | None], subjects: Array, times: Array | None = None, buffered: bool = True
    ) -> Any:
        """See `Intake.take`."""
        return self.intake.take(x, y, subjects, steps=self.steps, times=times, buffered=buffered)

    def behind_front(self, x: Array, taken: bool = False) -> Array:
        """Checked raw samples as the network takes them; from any thread. ``taken``: counted, not for a prediction."""
        front = self.setup.front
        return x if front is None else front(x) if taken else front.uncounted(x)

    def learn(self, asked: Asked) -> Any:
        """See `Teaching.learn`. A budget that was reached leaves a saved state, where there is a place for it."""
        found, stop = self.teaching.learn(asked)
        if stop is not None and stop.at_limit and self.saves.path is not None:
            with self.intake.lock:
                self.save(self.saves.path)
        return found

    def learn_again(
        self, steps: int | None, epochs: int | None, most: int | None, arrive: Callable[[int], None]
    ) -> None:
        self.teaching.learn(Asked(steps, epochs, None, most, arrive))

    def end_task(self) -> str | None:
        """See `Teaching.end_task`; why the task goes on, or None."""
        self.tasks.check()
        return stop_text(self.teaching.end_task()) or self.teaching.waiting_text()

    def finish(self) -> str | None:
        """See `Teaching.finish`."""
        return stop_text(self.teaching.finish())

    def _task_ended(self, number: int) -> None:
        """The state at the task's end is kept where that was asked for."""
        if self.diary.kept.most:
            with self.intake.lock:
                self.diary.kept.add(number, self.saves.sealed(self.state()))

    def save(self, folder: Path) -> None:
        """Write the state; samples may not come meanwhile."""
        if self.store is not None:
            self.store.flush()
        self.saves.generation += 1
        self.saves.write(folder, self.state())
        if self.store is not None:
            self.store.set_mark(self.saves.lineage, self.saves.generation)  # on flash is what it names
            self.intake.borders.saved(self.store.next_id)

    def forget(self, subject: int) -> Receipt:
        """See `erasure.forgetting.forget`; samples may not come meanwhile."""
        with without_statistics(self.core, subject) as statistics:  # while the samples can still be read
            receipt = forget(subject, self.store, [self.core, self.intake], [self.diary, self.saves])
            hide_nameless(self.core, self.intake)
        return replace(receipt, saved=sorted(map(str, self.saves.folders)), statistics=statistics)

    @property
    def amending(self) -> Amending:
        """Relabels, removes and renames; nothing may train or take samples meanwhile."""
        return amending(self.core, self.intake, self.diary)

    def adopt(self, covers: Mapping[str, Any] | None = None) -> None:
        """See `learning.found.adopt`."""
        new = adopt(self.intake, self.tasks, self.diary, covers)
        if new:
            self._log(f"store: {new} samples that no saved state of this learner knows are new")

    def answers(self, x: Array, proba: bool, task: Any = None) -> Any:
        """See `learning.answers.answers`."""
        return answers(self.core, self.tasks, self.intake.labels, x, proba, task)

    # -- training anew

    def retrain_without(self, subject: int, adopt: Callable[[Callable[[], Life]], None]) -> Retrained:
        """See `erasure.retrain`. ``adopt`` is given what makes the life that goes on in place of this one."""
        start = choose(self.diary, self.store, subject, bool(self.core.parts.method.needs.fields))
        check_room(self.session.guard.memory, self.core.plan)
        how = Replacing(self.forget, self.twin, lambda: adopt(self.successor), self.session.stop)
        return retrain(self, subject, start, how)

    def twin(self, options: Mapping[str, Any], classes: int, path: Path, from_seed: bool) -> Life:
        """Another one for the same samples: ``options`` over the present ones, states in ``path``, no budget."""
        config = {**self.core.plan.config.to_json(), **options}
        weights = self.diary.calls.weights if from_seed else None
        if self.setup.front is not None:
            config["front"] = self.setup.front.front
        setup = setup_like(self.setup, config, None if weights is None else weights[0])
        setup = replace(setup, classes=max(classes, setup.classes))
        return Life(setup, Saves(path, self.saves.root_key), self.session.stop, self.core.plan.baseline)

    def successor(self) -> Life:
        """After the store was replaced: the one whose state was saved beside the new store; this one is closed."""
        setup, saves, store = self.setup, self.saves, self.store
        assert store is not None
        saved = pending(store.path)
        assert saved is not None
        self.close()
        here = setup.config.replace(store=store.path)  # the process may have changed its folder
        wide = int(saved["learner"]["classes"])
        new = Life(replace(setup, config=here, classes=wide), saves, self.session.stop, self.core.plan.baseline)
        try:
            new.setup, new.core.parts.config = setup, self.core.parts.config  # as the store was named
            new.intake.lock = self.intake.lock  # threads wait at it
            take_over(new.store, saves.folders, saves.path)
            new.load(unseal(saved, saves.sealing))
        except BaseException:
            new.close()
            raise
        return new

    def resume(self, saved: dict[str, Any]) -> None:
        """Go on from a saved state, sealed as it was; what the store was asked to forget since is taken out of it."""
        take_over(self.store, self.saves.folders, self.saves.path)
        check_store(self.store, saved)
        saved, forgotten = self.saves.opened(saved)
        self.load(saved)
        for subject in forgotten:
            self.diary.forget_in_files(subject)
        self.adopt(covers_of(saved))

    # -- saved state

    def state(self) -> dict[str, Any]:
        """Plain values and arrays, samples in the clear."""
        store, core = self.store, self.core
        config = core.parts.config.to_json() | ({} if store is None else {"store": str(store.path)})
        return {
            "learner": {
                **self.setup.to_json(),
                "config": config,
                "plugins": provenance(config),
                "classes": core.classes,
                **self.intake.state(),
                **self.tasks.state(),
                **self.session.state(),
                **self.diary.state(),
                **self.saves.state(),
                "forgotten": [] if store is None else [list(f) for f in store.forgotten()],
                "forgotten_count": 0 if store is None else store.forgotten_count,
                "store_id": None if store is None else store.id,
            },
            "stream_buffer": self.intake.buffer.state(),
            **core.state(),
        }

    def load(self, saved: Mapping[str, Any]) -> None:
        """Go on from `state`. The store is not rewound: samples acknowledged after the last save stay known.

        Raises `EdgeclError` or `StoreError` for a state that does not fit, wherever that showed.
        """
        with fitting():
            check_saved(saved)
            self._load(saved, saved["learner"])

    def _load(self, saved: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        self.core.load(saved, rewind_store=False)
        self.intake.load(about, saved["stream_buffer"])
        self.intake.buffer.scale.follow(self.core.input_scale)
        self.tasks.load(about)
        self.session.load(about)
        self.diary.load(about)
        self.saves.load(about)
        if self.setup.front is not None:
            self.setup.front.load(about["front"])
        catch_up(self.core, self.intake)

    def counters(self) -> dict[str, Any]:
        """Steps, FLOPs, seconds of training, samples, exchanges."""
        return {**self.core.counters(), **self.session.counters(), **self.intake.counters()}

    def close(self) -> None:
        """Stop movers, close the store; once."""
        if not self.closed:
            self.closed = True
            self.intake.close()
            self.core.close()

