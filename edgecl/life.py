"""Life: a learner without its threads. The parts that train, take, remember and save, made and replaced together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .erasure.diary import Diary
from .erasure.forgetting import Receipt, forget
from .erasure.pending import check_store, pending, take_over
from .erasure.retrain import Replacing, Retrained, retrain
from .erasure.room import check_room
from .erasure.sealing import unseal
from .erasure.starts import choose, digest
from .errors import EdgeclError, NothingLearned
from .intake.intake import Intake, stored_labels
from .intake.labels import Label
from .intake.scale import ScaleWatch
from .intake.spec import SampleSpec
from .learning.core import Core
from .learning.learn import Asked, Teaching
from .learning.session import Session
from .learning.statistics import without_statistics
from .learning.stopping import Stopping
from .learning.tasks import Tasks
from .methods.losses import probabilities
from .planning.configured import KEPT_LOGITS
from .planning.learner_plan import AHEAD, plan_learner
from .planning.setup import OF_RUNS, Setup, make_setup
from .plugins import provenance
from .saved_bounds import check_saved
from .saves import Saves
from .storage import SampleStore
from .storage.errors import StoreError

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
        self.setup, self.saves, self.closed = setup, saves, False
        config, spec, network, front = setup.config, setup.spec, setup.wide_network, setup.front
        plan = plan_learner(config, network.graph, spec, setup.buffer, setup.budget, baseline, setup.free, front)
        identity = f"learner {spec.shape} {spec.dtype}"
        self.core = Core(plan, network, spec, identity, width=KEPT_LOGITS, root_key=saves.root_key, front=front)
        try:
            saves.store = self.core.parts.store
            labels = stored_labels(self.store) or network.labels
            self.diary = Diary(setup.classes, labels, digest(setup.weights), saves.path, setup.keep)
            wide = any(f.width == "classes" for f in self.core.parts.method.needs.fields)
            self.intake = Intake(
                spec, setup.buffer, self.store, self.diary, self._log, ahead=AHEAD * plan.config.batch,
                most_labels=KEPT_LOGITS if wide else None,
                needs_flash=getattr(self.core.parts.policy, "chooses_at_end", False),
            )  # fmt: skip
            if self.intake.know(network.labels) == network.labels and network.about.get("head") == "kept":
                self.core.see(np.arange(len(network.labels)))
            if spec.dtype == "float32":
                self.intake.buffer.scale = ScaleWatch(self.core.input_scale, setup.scale_is_open)
            self.diary.note_stored(self.store)
            self.tasks = Tasks(setup.tasks)
            self.session = Session(self.core.trainer, setup.budget, plan, stop, self._shed)
            self.teaching = Teaching(self.core, self.session, self.intake, self.tasks, self.diary)
        except BaseException:  # the store is for another try
            self.core.close()
            raise

    def _log(self, decision: str) -> None:
        self.core.trainer.log.append((self.core.trainer.steps, -1, decision))

    def _shed(self, step: int) -> None:
        self.teaching.shed(step)

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
    def steps(self) -> int:
        return self.core.trainer.steps

    # -- what a learner does

    def take(
        self, x: Array, y: list[Label], subjects: Array, times: Array | None = None, buffered: bool = True
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

    def end_task(self) -> Any:
        """See `Teaching.end_task`; the state at the task's end is kept where that was asked for."""
        before = self.tasks.number
        stop = self.teaching.end_task()
        if self.tasks.number > before and self.diary.kept.most:
            with self.intake.lock:
                self.diary.kept.add(before, self.saves.sealed(self.state()))
        return stop

    def save(self, folder: Path) -> None:
        """Write the state; samples may not come meanwhile."""
        if self.store is not None:
            self.store.flush()
        self.saves.write(folder, self.state())

    def forget(self, subject: int) -> Receipt:
        """See `erasure.forgetting.forget`; samples may not come meanwhile."""
        with without_statistics(self.core, subject) as statistics:  # while the samples can still be read
            receipt = forget(subject, self.store, [self.core, self.intake], [self.diary, self.saves])
        return replace(receipt, saved=sorted(map(str, self.saves.folders)), statistics=statistics)

    def answers(self, x: Array, proba: bool, task: Any = None) -> Any:
        """Labels of samples x [n, ...], or float32 [n, k] probabilities in the order of the labels known; from any
        thread but where a task is named.
        """
        core = self.core
        if not core.trainer.seen.any():
            raise NothingLearned("Nothing has been learned yet.", "Call observe() and learn() first.")
        if task is None:
            scores = core.scores(x, core.trainer.seen)
        else:
            number, units = self.tasks.of(task)
            among = np.zeros(core.classes, bool)
            among[units] = True
            scores = core.scores(x, among, number)
        labels = list(self.intake.labels.labels)
        if not proba:
            return [labels[k] for k in np.argmax(scores, axis=1)]
        return probabilities(scores, len(labels))

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
        setup = make_setup(
            self.setup.network,
            {k: v for k, v in config.items() if k not in OF_RUNS and k != "network" and v is not None},
            spec=self.setup.raw,
            classes=self.setup.network.graph.classes,
            buffer=self.setup.buffer,
            keep=self.setup.keep,
            tasks=self.setup.tasks,
            weights=None if weights is None else weights[0],
            called=self.core.plan.config.network,
        )
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

    # -- saved state

    def state(self) -> dict[str, Any]:
        """Plain values and arrays, samples in the clear."""
        store, core = self.store, self.core
        config = core.parts.config.to_json()
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
        try:
            self._load(saved)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, MemoryError) as error:
            if isinstance(error, (EdgeclError, StoreError)):
                raise
            what = f"{type(error).__name__}: {error}".rstrip(".")
            raise EdgeclError(
                f"The saved state does not fit: {what}.", "Use the other generation or a backup."
            ) from error

    def _load(self, saved: Mapping[str, Any]) -> None:
        check_saved(saved)
        about = saved["learner"]
        self.core.load(saved, rewind_store=False)
        self.intake.load(about, saved["stream_buffer"])
        self.intake.buffer.scale.follow(self.core.input_scale)
        self.tasks.load(about)
        self.session.load(about)
        self.diary.load(about)
        if self.setup.front is not None:
            self.setup.front.load(about["front"])
        self.diary.note_stored(self.store)

    def counters(self) -> dict[str, Any]:
        """Steps, FLOPs, seconds of training, samples, exchanges."""
        intake = {"kept_in_ram_only": self.intake.unstored, "buffered": len(self.intake.buffer)}
        return {**self.core.counters(), **self.session.counters(), **intake}

    def close(self) -> None:
        """Stop movers, close the store; once."""
        if not self.closed:
            self.closed = True
            self.intake.close()
            self.core.close()

