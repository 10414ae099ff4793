"""Learner: what an embedded service holds. observe, learn, predict, save, close."""

from __future__ import annotations

import atexit
import json
import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

from . import checkpoint, parsing, plugins
from .budget import Budget, resident
from .config import Config, normalise
from .erasure import calls
from .erasure.calls import Call, CallLog
from .erasure.forgetting import Receipt, forget, seal, unseal
from .erasure.kept import KeptStates
from .erasure.retrain import Retrained, check_store, drop_pending, pending, retrain, take_over
from .erasure.starts import digest
from .errors import BadInput, EdgeclError
from .former_names import present_names
from .intake.buffer import StreamBuffer
from .intake.labels import Label, LabelMap, plain_labels
from .intake.samples import as_samples, as_subject, sample_spec
from .learning.candidates import source_candidates, store_candidates
from .learning.head import widen_head
from .learning.learn import LearnLog as LearnLog
from .learning.learn import teach
from .learning.ledger import DenseRows
from .learning.parts import build_parts, close_parts, holds_store, make_graph
from .learning.saved import load_state, state_of, without_forgotten
from .learning.session import Session
from .learning.task_loop import AHEAD
from .learning.trainer import Trainer
from .learning.weights import read_weights
from .planning.learner_plan import plan_learner
from .storage import RootKey
from .storage.errors import WriteBudgetSpent

LOGITS_WIDTH = 1024  # widest head whose logits are stored
# Options of a run that say where its data is and where it writes; a learner has its own words for them.
_NOT_OURS = {
    "stream",
    "limit_train",
    "limit_tasks",
    "validation",
    "out",
    "checkpoint_every",
    "epochs",
    "ram",
    "flops",
    "energy",
    "seconds",
    "flash",
    "root_key_file",
}


_OPEN: weakref.WeakSet[Learner] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """A thread that is in a kernel while Python is taken down aborts the process: end every `learn` first."""
    for learner in list(_OPEN):
        if learner._pid == os.getpid():  # in a fork the locks may be held by threads that do not exist
            learner.close()


class Kept:
    """The ticket of samples that are held in RAM only, for want of a store."""

    def __init__(self, ids: np.ndarray) -> None:
        self.ids = ids
        self.done = True

    def wait(self, timeout: float | None = None) -> bool:
        return True


class Learner:
    """A network that learns from labelled samples as they come.

    >>> learner = Learner("cnn", input_shape=(1, 28, 28), method="er", memory=200, store="store")
    >>> learner.observe(images, ["cat", "dog", ...]).wait()
    >>> learner.learn(epochs=5)
    >>> learner.predict(image)
    'cat'

    model       : a network's name (`edgecl run --help` lists them)
    input_shape : (C, H, W); signals are (C, 1, T);  dtype : ``uint8`` or ``float32``
    mean, std   : per channel, raw units; by default 0 and 255 (uint8) or 0 and 1
    classes     : head units to begin with; a full head doubles
    buffer      : samples of the present task held in RAM
    store       : folder of the sample store; without one samples live in RAM only
    path        : folder that `save` writes to
    budget      : a `Budget`; its RAM counts the growth of the process from here on (scope ``learner``)
    root_key    : encrypts the store and what `save` writes, a key per subject (`storage.keys`); it is kept nowhere
    weights     : a safetensors file to start from, names as in `Learner.parameters`
    keep_checkpoints : states kept at the ends of tasks, beside the saved ones, for `retrain_without` to start from
    tasks       : False for a stream without tasks: nothing is masked, swapped or scheduled by task then
    use         : files or modules to import first, which register what ``options`` name
    options     : any training option of `edgecl run`: method, sparsity, memory, batch, lr, seed, gate,
        device ...

    `observe`, `predict`, `stop` and `flush` may be called from any thread, also while `learn` runs in
    another. `learn`, `end_task`, `save` and `close` exclude each other.
    """

    def __init__(
        self,
        model: str = "cnn",
        *,
        input_shape: tuple[int, int, int],
        dtype: str = "uint8",
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        classes: int = 10,
        buffer: int = 2000,
        path: str | Path | None = None,
        budget: Budget | None = None,
        weights: str | Path | None = None,
        root_key: RootKey | None = None,
        keep_checkpoints: int = 0,
        tasks: bool = True,
        use: str | Path | Sequence[str | Path] = (),
        **options: Any,
    ) -> None:
        plugins.use(use)
        for name in options:
            if name.replace("-", "_") in _NOT_OURS:
                raise BadInput(f"'{name}' is an option of a run, not of a learner.", "See help(edgecl.Learner).")
        buffer, classes = parsing.count(1)("buffer", buffer), parsing.count(1)("classes", classes)
        keep_checkpoints = parsing.count()("keep_checkpoints", keep_checkpoints)
        if budget is not None and not isinstance(budget, Budget):
            raise BadInput(f"budget is {budget!r}.", "Give a Budget, such as Budget(ram='64MB').")
        if root_key is not None and not callable(getattr(root_key, "keys", None)):
            raise BadInput(f"root_key is a {type(root_key).__name__}.", "Give a storage.KeyFile or the like.")
        self.budget = budget or Budget()
        given = normalise({**options, "model": model, "stream": "learner"})
        if self.budget.flash_writes_per_day is not None:
            given["flash_writes_per_day"] = int(self.budget.flash_writes_per_day)
        if self.budget.flash is not None and given.get("store") is not None:
            given.setdefault("store_limit", self.budget.flash)
        self.spec = sample_spec(input_shape, dtype, mean, std)
        self.path = None if path is None else Path(os.path.abspath(path))  # the process may change its folder
        config = Config.make(given, {"method": "er", "memory": 200})
        if root_key is not None and config.store is None:
            raise BadInput("A root_key was given without a store.", "Give store=.")
        if keep_checkpoints and (self.path is None or config.store is None):
            raise BadInput("States can be kept only with a path and a store.", "Give path= and store=.")
        self._has_tasks = bool(tasks)
        self._root_key = root_key
        self._kept = KeptStates(self.path, keep_checkpoints)
        self._work = threading.RLock()  # learn, end_task, save, close
        self._observing = threading.Lock()
        self._stop = threading.Event()
        self._folders = set() if self.path is None else {self.path}  # that may hold saved states
        self._baseline = resident()
        free = frozenset({"memory", "batch", "predict_batch"} - set(given))
        self._build(config, classes, buffer, free, weights)
        self._closed = False
        self._pid = os.getpid()
        _OPEN.add(self)

    def _build(
        self,
        config: Config,
        classes: int,
        buffer: int,
        free: frozenset[str] = frozenset(),
        weights: str | Path | None = None,
    ) -> None:
        """Everything that `close` gives back, as it is before the first sample."""
        graph = make_graph(config, self.spec, classes)
        start = None if weights is None else read_weights(weights, graph)
        plan = self.plan = plan_learner(config, self.spec, classes, buffer, self.budget, self._baseline, free)
        identity = f"learner {self.spec.shape} {self.spec.dtype}"
        self._parts = build_parts(
            plan, graph, self.spec, identity, width=LOGITS_WIDTH, weights=start, root_key=self._root_key
        )
        try:
            self._assemble(buffer, classes, weights)
        except BaseException:  # the store is for another try
            close_parts(self._parts)
            raise

    def _assemble(self, buffer: int, classes: int, weights: str | Path | None) -> None:
        """What goes around the parts."""
        plan = self.plan
        self._trainer = Trainer(self._parts)
        self._dense = DenseRows(plan.config.memory, plan.config.memory_policy == "reservoir")
        self._session = Session(self._trainer, self.budget, plan, self._stop, self._shed)
        self._shed_at: int | None = None  # step of the latest shedding in the present call
        self._labels = LabelMap(self._stored_labels())
        self._labels_stored = len(self._labels)
        self._buffer = StreamBuffer(self.spec, buffer, self._parts.store, AHEAD * plan.config.batch)
        self._calls = CallLog(classes, self._labels.labels, digest(weights))
        self._note_stored()
        self._task = 0
        self._task_name: str | None = None
        self._new_task = True
        self._next_id = 0
        self._unstored = 0  # samples that a spent write budget kept off flash
        self._learning: int | None = None  # step at which the running `learn` began
        self._make_predictor()

    # -- what a service calls

    def observe(self, x: Any, y: Any, *, task: Any = None, subject: int | None = None) -> Any:
        """Take one sample [C, H, W] with its label, or many [n, C, H, W] with n labels or one for all.
        Stores, never trains.

        task    : any value, told from others by its `repr`; a change of it ends the task before, which waits for
            a running `learn`
        subject : whole number kept with the record
        Returns a ticket: ``ids``; ``wait()`` returns when the samples are on flash.
        Raises `BadInput` for shapes, labels and values that do not fit, by index; nothing is taken then, and no
        task ended.
        """
        self._check_open()
        x = as_samples(x, self.spec)
        subject = -1 if subject is None else as_subject(subject)
        y = plain_labels(y, len(x))
        if task is not None:
            self._check_tasks()
            self._name_task(repr(task.item() if isinstance(task, np.generic) else task))
        with self._observing:
            return self._take(x, y, np.full(len(x), subject, np.int32))

    def _name_task(self, name: str) -> None:
        if name == self._task_name:
            return
        if self._task_name is None:
            self._task_name = name
            return
        with self._work:  # of several threads with samples of a new task one ends the old one
            if name != self._task_name:
                self.end_task()
                self._task_name = name

    def _take(
        self,
        x: np.ndarray,
        y: list[Label],
        subjects: np.ndarray,
        times: np.ndarray | None = None,
        buffered: bool = True,
    ) -> Any:
        """Checked samples of ``subjects`` [n], with ``_observing`` held; ``buffered``: also for the present task."""
        if buffered:
            self._buffer.room(len(x))
        method = self._parts.method
        if "logits" in method.needs.fields and self._labels.with_those(y) > LOGITS_WIDTH:
            raise BadInput(f"Method '{method.name}' keeps logits of {LOGITS_WIDTH} labels at most.", "Use method er.")
        units = self._labels.units(y, len(x))
        store = self._parts.store
        if store is None:
            ticket: Any = Kept(np.arange(self._next_id, self._next_id + len(x), dtype=np.int64))
            ids = np.full(len(x), -1, np.int64)
            self._next_id += len(x)
        else:
            if len(self._labels) > self._labels_stored:  # on flash before the first record that needs them
                store.meta_set({"labels": json.dumps(self._labels.labels).encode()})
                self._labels_stored = len(self._labels)
            ticket = self._store(x, units, subjects, times)
            ids = ticket.ids
            since = self._learning
            during = calls.NOT_DURING if since is None else self._trainer.steps - since
            if ids.size and ids[0] >= 0:
                what = (calls.OBSERVED, during) if buffered else (calls.STORED, 0)
                self._calls.add(Call(what[0], int(ids[0]), len(x), what[1]))
        self._calls.subjects.update(np.unique(subjects[subjects >= 0]).tolist())
        if buffered:
            self._buffer.append(x, units, ids, subjects)
        return ticket

    def _note_stored(self) -> None:
        """Samples that the store holds and the log of calls does not know."""
        store = self._parts.store
        if store is not None and store.next_id > self._calls.next_id:
            self._calls.add(Call(calls.STORED, self._calls.next_id, store.next_id - self._calls.next_id))
            self._calls.subjects.update(s for s in store.subjects() if s >= 0)

    def _store(self, x: np.ndarray, units: np.ndarray, subjects: np.ndarray, times: np.ndarray | None) -> Any:
        """A ticket of the store. When its daily write budget is spent the samples stay in RAM while it has room."""
        store = self._parts.store
        assert store is not None
        try:
            return store.append(x, units.astype(np.int32), subjects, times)
        except WriteBudgetSpent:
            if self._parts.config.memory_policy == "balanced" or not self._buffer.fits(len(x)):
                raise
            self._unstored += len(x)
            self._calls.add(Call(calls.UNSTORED, 0, len(x)))
            decision = f"flash budget: {len(x)} samples kept in RAM only"
            self._trainer.log.append((self._trainer.steps, -1, decision))
            return Kept(np.full(len(x), -1, np.int64))

    def learn(self, *, steps: int | None = None, epochs: int | None = None, seconds: float | None = None) -> LearnLog:
        """Train on the samples of the present task and on the memory, for so many steps, epochs (default 1)
        or seconds.

        Ends early, in order, when `stop` is called, a budget is reached, or the loss is not finite; in that
        case
        weights and optimizer state return to what they were when the call began, and ``stopped`` says so.
        """
        self._check_open()
        if sum(v is not None for v in (steps, epochs, seconds)) > 1:
            raise BadInput("learn() was given more than one of steps, epochs and seconds.", "Give one.")
        if steps is epochs is seconds is None:
            epochs = 1
        for name, value, kind in (("steps", steps, Integral), ("epochs", epochs, Integral), ("seconds", seconds, Real)):
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, kind) or (kind is Integral and value >= 2**63):
                raise BadInput(f"learn({name}={value!r}) cannot be done.", "Give whole steps or epochs, or seconds.")
            if not value > 0:
                raise BadInput(f"learn({name}={value}) asks for nothing.", "Give a number above 0.")
        with self._work:
            self._stop.clear()
            try:
                return self._learn(steps, epochs, seconds)
            finally:
                self._learning = None

    def stop(self) -> None:
        """End a running `learn` after its present step; from any thread."""
        self._stop.set()

    def end_task(self) -> None:
        """Say that the present task is over: the memory is updated, the stream buffer emptied. Optional."""
        self._check_tasks()
        with self._work:
            self._check_open()
            p = self._parts
            if p.carousel is not None:
                p.carousel.drop_pending()
            if p.memory is not None and len(self._buffer):
                p.policy.end_task(p.memory, p.random["memory"], self._candidates())
            p.method.end_task(p.engine, p.memory)
            with self._observing:
                self._buffer.clear()
                self._task += 1
                self._new_task = True
                self._calls.add(Call(calls.TASK_ENDED))
                if self._kept.most:
                    self._kept.add(self._task - 1, seal(self._state(), self._sealing))

    def predict(self, x: Any, proba: bool = False) -> Any:
        """The label of one sample, or the list of labels of many; from any thread, also during `learn`.

        proba : instead float32 [k] or [n, k], probabilities in the order of `labels`; 0 for a label not
            learned yet
        """
        self._check_open()
        given, x = x, as_samples(x, self.spec)
        single = np.ndim(given) == len(self.spec.shape)
        predict, seen = self._predict, self._trainer.seen
        if not seen.any():
            raise BadInput("Nothing has been learned yet.", "Call observe() and learn() first.")
        logits = predict(x)["logits"]
        width = min(logits.shape[1], seen.size)  # the head may just be growing
        scores = self._parts.method.scores({"logits": logits[:, :width]}, seen[:width])
        labels = list(self._labels.labels)
        if not proba:
            found = [labels[k] for k in np.argmax(scores, axis=1)]
            return found[0] if single else found
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
        full = np.zeros((len(x), len(labels)), np.float32)
        full[:, : shares.shape[1]] = shares[:, : len(labels)]
        return full[0] if single else full

    def flush(self) -> None:
        """Returns when every sample observed so far is on flash."""
        self._check_open()
        if self._parts.store is not None:
            self._parts.store.flush()

    def save(self, path: str | Path | None = None) -> Path:
        """Write the whole state (two generations are kept); the folder to give to `Learner.open`."""
        folder = self.path if path is None else Path(os.path.abspath(path))
        if folder is None:
            raise BadInput("save() does not know where to write.", "Give save(path), or Learner(path=...).")
        with self._work, self._observing:
            self._check_open()
            if self._parts.store is not None:
                self._parts.store.flush()
            self._folders.add(folder)
            checkpoint.save(folder, seal(self._state(), self._sealing))
            drop_pending(self)
        return folder

    def forget(self, subject: int) -> Receipt:
        """Take everything of ``subject`` out of store, memory, stream buffer, swaps on their way and saved states
        (of ``path`` and of the folders saved to since this learner was made); waits for a running `learn`.

        What holds afterwards depends on encryption (docs/forgetting.md); the receipt says it. A crash meanwhile
        is made good by the next `open`. Samples of the subject that are observed later are kept.
        """
        self._check_open()
        subject = as_subject(subject)
        with self._work, self._observing:
            self._check_open()
            return forget(self, subject)

    def retrain_without(self, subject: int) -> Retrained:
        """`forget` a subject, and make the weights again as if it had never been there: bit for bit those of a
        learner that got the same calls without its samples (`learning.retrain` says exactly which).

        Starts from the newest state of ``keep_checkpoints`` that is older than the subject's first sample, else from
        the seed, and repeats the calls since. Meanwhile `observe` and `predict` work, and RAM holds a second
        learner. A crash or `stop` before its end leaves everything but the forgotten samples as it was; ids of
        samples are given anew. Every folder saved to gets the new state.
        Raises `CannotRetrain`, before anything is changed, when something it needs is no longer there.
        """
        self._check_open()
        subject = as_subject(subject)
        with self._work:
            self._check_open()
            self._stop.clear()
            return retrain(self, subject)

    def _like(self, options: Mapping[str, Any], **changed: Any) -> Learner:
        """Another learner for the same samples."""
        s = self.spec
        ours = {k: v for k, v in options.items() if k not in _NOT_OURS}
        return Learner(
            input_shape=s.shape,
            dtype=s.dtype,
            mean=s.mean,
            std=s.std,
            buffer=self._buffer.capacity,
            root_key=self._root_key,
            keep_checkpoints=self._kept.most,
            tasks=self._has_tasks,
            **changed,
            **ours,
        )

    def _reopen(self) -> None:
        """After the store was replaced: everything as it was saved beside the new one."""
        config, store = self._parts.config, self._parts.store
        assert store is not None
        saved = pending(store.path)
        assert saved is not None
        try:
            self._buffer.close()
            close_parts(self._parts)
            self._build(config.replace(store=store.path), saved["learner"]["classes"], self._buffer.capacity)
            self._parts.config = config  # saved states name the store as it was given
            take_over(self)
            self._load(unseal(saved, self._sealing))
        except BaseException:
            self.close()
            raise

    @property
    def _sealing(self) -> Any:
        """What seals saved states; None without a root key."""
        store = self._parts.store
        return None if store is None else store._sealing

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        store: str | Path | None = None,
        budget: Budget | None = None,
        root_key: RootKey | None = None,
        use: str | Path | Sequence[str | Path] = (),
    ) -> Learner:
        """The learner saved in ``path``. ``store``: where its store lies now, by default where it was. What the
        store was asked to forget since then is taken out of the saved states first.
        """
        plugins.use(use)
        saved = checkpoint.load(path)
        if saved is not None and "learner" in saved:
            saved = pending(store or saved["learner"]["config"]["store"], saved) or saved
        if saved is None or "learner" not in saved:
            raise BadInput(f"'{path}' holds no good saved learner.", "Give the folder that save() wrote to.")
        about = saved["learner"]
        plugins.check_provenance(about.get("plugins", ()), "saved learner")
        options = {k: v for k, v in present_names(about["config"]).items() if k not in _NOT_OURS and v is not None}
        if store is not None:
            options["store"] = str(store)
            if about["config"]["store"] is None:
                raise BadInput("This learner was saved without a store.", "Open it without one.")
        if about.get("store_id") is not None and not holds_store(options["store"]):
            raise BadInput(f"The store of this learner is not in '{options['store']}'.", "Give its folder as store=.")
        spec = about["spec"]
        learner = cls(
            input_shape=tuple(spec["shape"]),
            dtype=spec["dtype"],
            mean=None if spec["mean"] is None else tuple(spec["mean"]),
            std=None if spec["std"] is None else tuple(spec["std"]),
            classes=about["classes"],
            buffer=about["buffer"],
            path=path,
            budget=budget,
            root_key=root_key,
            keep_checkpoints=about.get("keep_checkpoints", 0),
            tasks=about.get("tasks", True),
            **options,
        )
        try:
            take_over(learner)
            check_store(learner, saved)
            saved, forgotten = without_forgotten(learner, unseal(saved, learner._sealing))
            learner._load(saved)
            for subject in forgotten:
                learner._calls.add(Call(calls.FORGOT, subject))
                learner._kept.forget(subject)
        except BaseException:
            learner.close()
            raise
        return learner

    def close(self) -> None:
        """Stop, let movers end, close the store. Saves nothing."""
        self._stop.set()
        with self._work:
            if not self._closed:
                self._closed = True
                self._buffer.close()
                close_parts(self._parts)

    def __enter__(self) -> Learner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def labels(self) -> tuple[Label, ...]:
        """Labels observed so far, in the order of their head units."""
        return tuple(self._labels.labels)

    @property
    def parameters(self) -> Mapping[str, tuple[int, ...]]:
        """Names and shapes of the network's weights."""
        return {n: p.spec.shape for n, p in self._parts.engine.model.parameters.items()}

    @property
    def counters(self) -> dict[str, Any]:
        """Steps, FLOPs, seconds of training, samples, exchanges."""
        p, session = self._parts, self._session
        return {
            "steps": self._trainer.steps,
            "flops": p.ledger.executed(p.engine.meters),
            "train_seconds": session.seconds,
            "energy_joules": {"value": session.energy.joules(self._trainer.steps), "source": session.energy.source},
            "governor": None if session.governor is None else session.governor.to_json(),
            "kept_in_ram_only": self._unstored,
            "buffered": len(self._buffer),
            "remembered": 0 if p.memory is None else p.memory.filled,
            "stored": 0 if p.store is None else p.store.count,
            "carousel": {} if p.carousel is None else dict(p.carousel.counters),
        }

    # -- inside

    def _shed(self, step: int) -> None:
        """Stop reading ahead and give back idle buffers; no result depends on them."""
        self._shed_at = step
        self._buffer.shed()
        carousel = self._parts.carousel
        if carousel is not None:
            carousel.trim()
        self._trainer.log.append((step, -1, "shed"))

    def _fit_head(self) -> None:
        """Double the head until every label has a unit."""
        classes = self._parts.engine.model.graph.classes
        wanted = classes
        while wanted < len(self._labels):
            wanted *= 2
        if wanted != classes:
            widen_head(self._trainer, self.spec, wanted)
            self._make_predictor()

    def _make_predictor(self) -> None:
        self._predict = self._parts.engine.predictor(self.plan.plan.predict_batch)

    def _candidates(self) -> Any:
        view = self._buffer.view()
        if self._parts.config.memory_policy != "balanced":
            return None
        if self._parts.store is not None:
            return store_candidates(self._parts.store, view.ids)
        from .data import ArraySource

        source = ArraySource(view.samples, view.labels)
        return source_candidates(source, self._parts, self._predict, self._trainer.seen, view.subjects)

    def _stored_labels(self) -> list[Label]:
        store = self._parts.store
        found = None if store is None else store.meta_get("labels")
        return [] if found is None else json.loads(found)

    def _learn(
        self,
        steps: int | None,
        epochs: int | None,
        seconds: float | None,
        arrive: Callable[[int], None] | None = None,
    ) -> LearnLog:
        return teach(self, steps, epochs, seconds, arrive)

    def _state(self) -> dict[str, Any]:
        return state_of(self)

    def _load(self, saved: Mapping[str, Any]) -> None:
        load_state(self, saved)

    def _check_tasks(self) -> None:
        if not self._has_tasks:
            raise BadInput("This learner was made with tasks=False: its stream has no tasks.", "Drop the task.")

    def _check_open(self) -> None:
        if self._closed:
            raise EdgeclError("This learner is closed.", "Make or open another one.")
