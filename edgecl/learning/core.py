"""Core: the network that learns, with everything a step needs: engine, method, memory, store, and how far they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..budget.planner import RunPlan
from ..budget.stop import Stop
from ..graph.scale import Scale, input_scale
from ..intake.front import FrontInUse
from ..intake.order import Order
from ..intake.scale import checked_scale
from ..intake.spec import SampleSpec
from ..methods import Method
from ..methods.context import TaskInfo
from ..methods.phase import Phase
from ..network import Network
from ..planning.configured import trains_at
from ..plugins import guard_plugin
from ..storage import RootKey
from .candidates import candidates_of
from .context import EventContext
from .facts import carousel_facts, flash_facts
from .head import replan_for, rescale_input, widen_head
from .holdout import Holdout
from .ledger import DenseRows
from .memory_rows import amend_memory
from .parts import build_parts, close_parts
from .phases import Phases
from .rate import find_rate
from .session import Session
from .task_data import TaskData
from .task_loop import TaskLoop
from .trainer import Trainer

Array = np.ndarray


class Core:
    """What `Learner` and `run` train. It owns parts, trainer, predictor and what is pending of a task.

    Parameters
    ----------
    plan : with the configuration;  network : to start from
    identity : of the stream: a store of another one is refused
    width : of stored logits, by default the head's
    front : what raw samples passed before they come here, or None: its FLOPs and seconds count, a store knows it
    """

    def __init__(
        self,
        plan: RunPlan,
        network: Network,
        spec: SampleSpec,
        identity: str,
        *,
        width: int | None = None,
        root_key: RootKey | None = None,
        front: FrontInUse | None = None,
    ) -> None:
        self.plan, self.spec, self.network = plan, spec, network
        self.parts = build_parts(plan, network, spec, identity, width=width, root_key=root_key, front=front)
        try:
            config = plan.config
            self.trainer = Trainer(self.parts)
            self.trainer.learn_body(self.parts.method.needs.body == "first task")
            slots = 0 if self.parts.memory is None else config.memory
            self.dense = DenseRows(slots, config.memory_policy == "reservoir")
            self.phases = Phases(self.trainer)
            self.holdout = Holdout(self.parts)
            self.make_predictor()
        except BaseException:  # the store is for another try
            close_parts(self.parts)
            raise

    @property
    def sealing(self) -> Any:
        """What seals saved states; None without a root key."""
        return None if self.parts.store is None else self.parts.store._sealing

    @property
    def classes(self) -> int:
        """Head units."""
        return self.parts.engine.model.graph.classes

    # -- predictions

    def make_predictor(self) -> None:
        """Predictions by the present head and, where the method asks for it, by its side."""
        method = self.parts.method
        fetch = tuple(dict.fromkeys(("logits", *method.needs.predict)))
        self._predict = self.parts.engine.predictor(self.plan.plan.predict_batch, fetch, method.predict_side)

    def predict(self, x: Array) -> dict[str, Array]:
        """What the method predicts from, by name, for samples [n, ...]; from any thread."""
        return self._predict(x)

    def scores(self, x: Array, seen: Array | None = None, task: int | None = None) -> Array:
        """float32 [n, C] scores of samples; units outside ``seen`` (bool [C]) at -inf.

        task : 0-based, for a Task-IL prediction: with the weights that a sparsity policy keeps for that task
        """
        params = None if task is None else self.parts.sparse.params_at(self.parts.engine, task)
        outs = self.predict(x) if params is None else self._with_params(x, params)
        method = self.trainer.method
        if seen is not None:  # the head may just be growing
            seen = seen[: outs["logits"].shape[1]]
            outs = {**outs, "logits": outs["logits"][:, : seen.size]}
        with guard_plugin(method, "scores"):
            return method.scores(outs, seen)

    def _with_params(self, x: Array, params: Mapping[str, Array]) -> dict[str, Array]:
        """An evaluation that no meter counts, for the thread that trains."""
        engine, meters = self.parts.engine, self.parts.engine.meters
        before, batch = meters.to_json(), engine.plan.predict_batch
        fetch = tuple(dict.fromkeys(("logits", *self.parts.method.needs.predict)))
        found = [
            engine.forward({engine.model.graph.input: x[at : at + batch]}, fetch, training=False, params=params)
            for at in range(0, len(x), batch)
        ]
        for name, value in before.items():
            setattr(meters, name, value)
        return {name: np.concatenate([f[name] for f in found]) for name in fetch}

    # -- the way of a task

    def context(self, task: TaskInfo, data: TaskData | None, purpose: str = "method") -> EventContext:
        """What events of the method or the sparsity policy see now."""
        return self.trainer.context(purpose, task, data, held_out=self.holdout.rows)

    def see(self, units: Array) -> None:
        """Count head units among those with samples."""
        self.trainer.seen[units] = True

    def widen(self, classes: int) -> None:
        """A wider head: present units keep weights and optimizer state, new ones start fresh."""
        widen_head(self.trainer, classes)
        self.make_predictor()

    @property
    def input_scale(self) -> Scale | None:
        """(mean, std) by which the network normalises its input."""
        return input_scale(self.parts.engine.model.graph)

    def rescale(self, scale: Scale) -> None:
        """Normalise the input by another (mean, std)."""
        if scale != self.input_scale:
            rescale_input(self.trainer, scale)
            self.make_predictor()

    def begin_task(self, task: TaskInfo, data: TaskData) -> None:
        """Tell method and policy; their phases are pending then."""
        p = self.parts
        self._train_what_is_needed(task)
        self.holdout.draw(data)
        phases: list[Phase] = []
        if task.number is not None:
            with guard_plugin(p.method, "begin_task"):
                phases += p.method.begin_task(self.context(task, data))
        with guard_plugin(p.sparse.policy, "begin_task"):
            phases += p.sparse.begin_task(self.context(task, data, "sparsity"))
        self.phases.add(phases)
        find_rate(self.trainer, task, data)

    def _train_what_is_needed(self, task: TaskInfo) -> None:
        """A closed-form head over the body of the first task: release what training took."""
        p = self.parts
        if p.method.needs.body != "first task":
            return
        learns = task.first or task.number is None
        self.trainer.learn_body(learns)
        if p.engine.plan.extras.trains != trains_at(p.method.needs, learns):
            replan_for(self.trainer, trains_at(p.method.needs, learns))
            self.make_predictor()

    def loop(
        self, task: TaskInfo, data: TaskData, epochs: int | None, first_step: int = 0, order: Order | None = None
    ) -> TaskLoop:
        """The steps of the task's own epochs; with None they have no end. ``order``: see `TaskLoop`."""
        context = self.context(task, data)
        return TaskLoop(self.trainer, context, self.dense, epochs=epochs, first_step=first_step, order=order)

    def end_task(self, task: TaskInfo, data: TaskData | None, own: TaskData | None = None) -> None:
        """Give up exchanges on their way, update the memory, tell method and policy; their phases are pending then.

        data : of the task as it was trained, None when it had no sample
        own : the task's own samples where ``data`` holds those of other tasks too
        """
        p = self.parts
        if p.carousel is not None:
            p.carousel.drop_pending()
        if data is not None and p.memory is not None:
            with guard_plugin(p.policy, "end_task"):
                chosen = candidates_of(p, data if own is None else own, self._judge(task), self.trainer.width)
                p.policy.end_task(p.memory, p.random["memory"], chosen)
        self.trainer.learn_body(False)
        with guard_plugin(p.method, "end_task"):
            phases = list(p.method.end_task(self.context(task, data)))
        with guard_plugin(p.sparse.policy, "end_task"):
            phases += p.sparse.end_task(self.context(task, data, "sparsity"))
        self.phases.add(phases)

    def _judge(self, task: TaskInfo) -> Callable[[Array], dict[str, Array]]:
        """An evaluation forward for a memory policy, of the parameter set that predicts; metered."""
        c, side = self.context(task, None), self.parts.method.predict_side
        held = side if side is not None and not self.parts.engine.side(side).empty else None
        fetch = tuple(dict.fromkeys(("logits", *getattr(self.parts.policy, "fetch", ()))))
        return lambda x: c.evaluate(x, fetch, held)

    def finish(self, task: TaskInfo, data: TaskData | None) -> bool:
        """After the last task; phases of the method's end are pending then. Whether the method does anything there."""
        method = self.parts.method
        with guard_plugin(method, "finish"):
            self.phases.add(list(method.finish(self.context(task, data))))
        return bool(self.phases) or type(method).finish is not Method.finish

    def run_phases(self, session: Session, task: TaskInfo, data: TaskData | None, **hooks: Any) -> Stop | None:
        """Train what is pending, until it is done or ``enough()``; the `Stop` when something else ended it. Hooks as in
        `Session.run`."""
        return self.phases.run(session, self.context(task, data), **hooks)

    def shed(self, step: int) -> None:
        """Give back idle buffers; no result depends on them."""
        if self.parts.carousel is not None:
            self.parts.carousel.trim()
        self.trainer.log.append((step, -1, "shed"))

    def counters(self) -> dict[str, Any]:
        """Steps, FLOPs, samples and exchanges so far."""
        p = self.parts
        return {
            "steps": self.trainer.steps,
            "flops": self.trainer.flops,
            "front_flops": self.trainer.front_flops,
            "remembered": 0 if p.memory is None else p.memory.filled,
            "stored": 0 if p.store is None else p.store.count,
            "carousel": {} if p.carousel is None else dict(p.carousel.counters),
            "flash": None if p.store is None else flash_facts(p.store),
        }

    def facts(self) -> dict[str, Any]:
        """What a record says of it: steps, FLOPs, exchanges, the sparse pattern; plain values."""
        p = self.parts
        return {
            "steps": self.trainer.steps,
            "flops": p.ledger.to_json(p.engine.meters) | ({} if p.front is None else {"front": p.front.flops}),
            "executed": self.trainer.flops + self.trainer.front_flops,
            "front": None if p.front is None else p.front.facts(),
            "carousel": carousel_facts(p, self.trainer.log),
            "sparsity": p.sparse.describe(),
            "flash_writes": None if p.store is None else p.store.wear.last_day,
        }

    # -- saved state

    def state(self) -> dict[str, Any]:
        own = {"trains": self.parts.engine.plan.extras.trains, "phases": self.phases.state(), "scale": self.input_scale}
        return {
            "dense": self.dense.state(),
            "trainer": {**self.trainer.state(), **own, "holdout": self.holdout.state()},
        }

    def load(self, state: Mapping[str, Any], rewind_store: bool = True) -> None:
        """Continue from `state`; see `Trainer.load`. Pending phases go on with the next `run_phases`."""
        trainer = state["trainer"]
        if self.parts.method.needs.body == "first task":
            learns = bool(trainer.get("body_learns", True))
            self.trainer.learn_body(learns)
            trains = str(trainer.get("trains", "all"))
            if self.parts.engine.plan.extras.trains != trains:
                replan_for(self.trainer, trains)
        if trainer.get("scale") is not None:
            self.rescale(checked_scale(trainer["scale"], self.spec.shape[0]))
        self.trainer.load(trainer, rewind_store)
        self.dense.load(state["dense"])
        self.phases.load(trainer.get("phases"))
        self.holdout.load(trainer.get("holdout"))
        self.make_predictor()

    def forget(self, subject: int, ids: Array) -> dict[str, int]:
        """Empty the memory slots of ``subject`` or with one of ``ids``, give up its swaps on their way; how many."""
        p, slots = self.parts, 0
        swaps = 0 if p.carousel is None else p.carousel.forget(subject, ids)
        if p.memory is not None:
            mine = (p.memory.classes >= 0) & ((p.memory.subjects == subject) | np.isin(p.memory.ids, ids))
            p.memory.clear(np.flatnonzero(mine))
            slots = int(mine.sum())
        return {"slots": slots, "swaps": swaps}

    def amend(self, ids: Array, units: Array, again: bool = False) -> None:
        """Samples ``ids``, ascending, of the store have other head units [n] now, -2 where they were removed: so they
        have in the memory. ``again`` is for others."""
        amend_memory(self.parts.memory, self.parts.carousel, ids, units)

    def close(self) -> None:
        """Stop movers, close the store."""
        close_parts(self.parts)
