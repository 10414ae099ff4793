"""Learner: what an embedded service holds. observe, learn, predict, save, close."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from . import plugins
from .backup import restore
from .budget import Budget
from .budget.meters import settled
from .closing import close_at_exit
from .engine.select import import_engine
from .erasure.forgetting import Receipt
from .erasure.retrain import Retrained
from .graph import Graph
from .intake.labels import plain_labels
from .intake.samples import as_samples, as_subject
from .intake.spec import SampleSpec
from .learning.asked import Asked, LearnLog
from .learning.core import Core
from .learning.progress import Listener
from .learning.stopping import StopFlag
from .life import Life
from .network import Network
from .opening import open_saved
from .planning.setup import Setup, make_setup, taken_by
from .records import Records
from .saves import Saves
from .storage import RootKey


class Learner(Records):
    """A network that goes on learning from labelled samples.

    >>> learner = Learner("cnn", input_shape=(1, 28, 28), method="er", memory=200, store="store")
    >>> learner.observe(images, ["cat", "dog", ...]).wait()
    >>> learner.learn(epochs=5)
    >>> learner.predict(image)
    'cat'

    Parameters
    ----------
    network : a network's name (`edgecl run --help` lists them), a `.edgecl` file, a `Graph` or a `Network`; default:
        what follows the cut of a ``backbone``, else ``cnn``
    input_shape, dtype : (C, H, W), of signals (C, 1, T); ``uint8`` or ``float32``; default: as front or network take it
    mean, std : of what the network takes, per channel; default: 0 and 255 (uint8), or from the first samples (`spec`)
    classes : head units to begin with, by default a network's own, else 10; a full head doubles
    buffer : samples of the present task held in RAM
    path : folder that `save` writes to
    budget : a `Budget`; its RAM counts the growth of the process from here on (scope ``learner``)
    root_key : encrypts the store and what `save` writes, a key per subject (`storage.keys`); it is kept nowhere
    weights : a safetensors file to start from, names as in `Learner.parameters`
    keep_checkpoints : states kept at the ends of tasks, beside the saved ones, for `retrain_without` to start from
    tasks : False for a stream without tasks: nothing is masked, swapped or scheduled by task then
    use : files or modules to import first, which register what ``options`` name
    options : any training option of `edgecl run`: method (a name, or an object such as ``ER(beta=1.0)``), store (folder
        of the sample store; without one samples live in RAM only), sparsity, memory, batch, lr, seed, gate, device,
        front (what raw samples pass before the network), backbone (a pretrained network: a name that `edgecl models`
        lists, a file, a `Network`), cut, latent, executor ...

    `observe`, `predict`, `stop` and `flush` may be called from any thread, also while `learn` runs in
    another. `learn`, `end_task`, `finish`, `save` and `close` exclude each other.
    """

    def __init__(
        self,
        network: str | Path | Graph | Network | None = None,
        *,
        input_shape: tuple[int, ...] | None = None,
        dtype: str | None = None,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        classes: int | None = None,
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
        named = options.pop("model", network)
        spec = taken_by(named, input_shape, dtype, mean, std, options)
        setup = make_setup(
            named, options, spec=spec, classes=classes, buffer=buffer, budget=budget, keep=keep_checkpoints,
            tasks=tasks, weights=weights,
        )  # fmt: skip
        self._begin(setup, Saves(path, root_key))
        self.life.adopt()

    def _begin(self, setup: Setup, saves: Saves) -> None:
        """Everything that `close` gives back, as it is before the first sample."""
        saves.check(setup.config.store, setup.keep)
        self._work = threading.RLock()  # learn, end_task, finish, save, close
        self._stop = StopFlag()
        own = 0 if setup.front is None else setup.front.resident
        import_engine(setup.config.engine)
        self.life = Life(setup, saves, self._stop, settled() - own)
        close_at_exit(self)

    def observe(self, x: Any, y: Any, *, task: Any = None, subject: int | None = None) -> Any:
        """Take one sample [C, H, W] with its label, or many [n, C, H, W] with n labels or one for all.
        Stores, never trains.

        y       : None for samples that get their labels later, by `relabel`
        task    : any value, told from others by its `repr`; a change of it waits for `learn` and ends the task before
        subject : whole number kept with the record
        Returns a ticket: ``ids``; ``wait()`` returns when the samples are on flash.
        Raises `BadInput` for what does not fit, by index; nothing is taken then, and no task ended.
        """
        self._check_open()
        x = as_samples(x, self.spec)
        subject = -1 if subject is None else as_subject(subject)
        y = plain_labels(y, len(x))
        x = self.life.behind_front(x, taken=True)
        if task is not None:
            self.life.tasks.check()
            name = repr(task.item() if isinstance(task, np.generic) else task)
            if name != self.life.tasks.name:
                with self._work:  # of several threads with samples of a new task one ends the old one
                    self.life.teaching.change_task(name)
        with self.life.intake.lock:
            return self.life.take(x, y, np.full(len(x), subject, np.int32))

    def learn(
        self, *, steps: int | None = None, epochs: int | None = None, seconds: float | None = None,
        progress: Listener | None = None,
    ) -> LearnLog:  # fmt: skip
        """Train on the present task's samples and on the memory, for so many steps, epochs (default 1) or seconds.
        Samples of earlier tasks that were not learned yet come first, in order of their tasks; where there is no sample
        of the present one the memory is replayed alone. The log says how many samples were ``new``.

        progress : called after each step with a `Progress`
        Ends early, in order, when `stop` is called, a budget is reached, or the loss explodes or is not finite; then
        weights and optimizer state are again what they were when the call began, and ``stopped`` says so.
        """
        asked = Asked.checked(steps, epochs, seconds, progress)
        with self._alone():
            return self.life.learn(asked)

    def stop(self) -> None:
        """End a running `learn` after the present step; from any thread."""
        self._stop.set()

    def end_task(self) -> str | None:
        """Say that the present task is over: the memory is updated, the stream buffer emptied, phases that the method
        asked for are trained. Optional. Samples not learned yet are learned first, by the next `learn`. Returns why the
        end was cut short or put off, or None; the next call completes it.
        """
        with self._alone():
            return self.life.end_task()

    def finish(self) -> str | None:
        """Say that the last task is over: methods that train at the end only do it now. Returns as `end_task`."""
        with self._alone():
            return self.life.finish()

    def predict(self, x: Any, proba: bool = False, *, task: Any = None) -> Any:
        """The label of one sample, or the list of labels of many; from any thread, also during `learn`.

        proba : instead float32 [k] or [n, k], probabilities in the order of `labels`; 0 for a label not learned yet
        task : a task's name or number: only among its labels, and with the weights that a sparsity policy keeps for it
            (then it waits for a running `learn`)
        """
        self._check_open()
        given, x = x, self.life.behind_front(as_samples(x, self.spec))
        with nullcontext() if task is None else self._work:
            answers = self.life.answers(x, proba, task)
        return answers[0] if np.ndim(given) == len(self.spec.shape) else answers

    def save(self, path: str | Path | None = None) -> Path:
        """Write the whole state (two generations are kept); the folder to give to `Learner.open`."""
        folder = self.life.saves.folder(path)
        with self._still():
            self.life.save(folder)
        return folder

    def forget(self, subject: int) -> Receipt:
        """Take everything of ``subject`` out of store, memory, stream buffer, swaps on their way and saved states
        (of ``path`` and of the folders saved to since this learner was made); waits for a running `learn`.

        The receipt says what holds afterwards (docs/forgetting.md). A crash meanwhile is made good by the next `open`.
        Samples of the subject that are observed later are kept.
        """
        subject = as_subject(subject)
        with self._still():
            return self.life.forget(subject)

    def retrain_without(self, subject: int) -> Retrained:
        """`forget` a subject, and make the weights again as if it had never been there: bit for bit those of a
        learner that got the same calls without its samples (`erasure.retrain` says exactly which).

        Starts from the newest state of ``keep_checkpoints`` that is older than the subject's first sample, else from
        the seed, and repeats the calls since; meanwhile `observe` and `predict` work, and RAM holds a second learner.
        A crash or `stop` before its end leaves everything but the forgotten samples as it was; ids of samples are given
        anew. Raises `CannotRetrain`, before anything is changed, when something it needs is no longer there.
        """
        with self._alone():
            return self.life.retrain_without(as_subject(subject), lambda make: setattr(self, "life", make()))

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
        saved, setup = open_saved(path, store, budget)
        learner = cls.__new__(cls)
        learner._begin(setup, Saves(path, root_key))
        try:
            learner.life.resume(saved)
        except BaseException:
            learner.close()
            raise
        return learner

    @classmethod
    def restore(cls, file: str | Path, to: str | Path, **given: Any) -> Learner:
        """The learner of a `backup`, brought back into the new folder ``to``; ``given`` as in `open`."""
        return cls.open(restore(file, to)["saved"], **given)

    def close(self) -> None:
        """Stop, let movers end, close the store. Saves nothing."""
        if not self.life.forked:  # in a fork the locks may be held by threads that do not exist
            self._stop.set()
            with self._work:
                self.life.close()

    def __enter__(self) -> Learner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- what there is to know

    @property
    def core(self) -> Core:
        """The training core. Internal: it changes without notice."""
        return self.life.core

    @property
    def spec(self) -> SampleSpec:
        """Shape and dtype of raw samples; mean and deviation that the network normalises by."""
        return self.life.spec

    @property
    def path(self) -> Path | None:
        """The folder that `save` writes to."""
        return self.life.saves.path

    @property
    def parameters(self) -> Mapping[str, tuple[int, ...]]:
        """Names and shapes of the network's weights."""
        return {n: p.spec.shape for n, p in self.core.parts.engine.model.parameters.items()}

    @property
    def plan(self) -> Any:
        """The `RunPlan`: bytes, FLOPs and choices of training."""
        return self.core.plan

    @property
    def counters(self) -> dict[str, Any]:
        """Steps, FLOPs, seconds of training, samples, exchanges."""
        return self.life.counters()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """For what trains: nobody else does, and `stop` said before does not count."""
        self._check_open()
        with self._work:
            self._check_open()
            self._stop.clear()
            yield
