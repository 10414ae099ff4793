"""Trainer: one training step with every part wired. The learner and the runner both drive this and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..compiler.blocking import saved_choices, with_choices
from ..engine.base import Engine, Meters
from ..errors import BadInput
from ..methods import Batch, Draw, Method, Replayed, StepResult, gate
from ..methods.context import TaskInfo
from ..planning.configured import body_method
from ..plugins import guard_plugin, is_ours
from ..sparsity import StepInfo
from ..storage.decisions import DecisionLog
from .context import EventContext
from .health import Health
from .memory_rows import gather
from .refresh import LogitRefresh
from .schedule import learning_rate
from .task_data import TaskData, TaskRows
from .wiring import Parts

Array = np.ndarray


class Trainer:
    """steps : training steps so far, those of phases included;  seen : bool [C], head units with at least one sample
    log : what a clock, a load or a sensor decided: (step, slot or -1, decision)
    trial_steps : steps of trials that found the learning rate, beside ``steps``
    body : the method of a first task in which the body of a closed-form head learns, or None
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.steps = self.trial_steps = 0
        self.log = DecisionLog() if parts.carousel is None else parts.carousel.log
        self.seen = np.zeros(parts.engine.model.graph.classes, bool)
        self.body: Method | None = None
        self.health = Health()
        self._gate = gate(parts.config.gate_name)
        self._foreign = not is_ours(type(parts.method))
        schema = None if parts.memory is None else parts.memory.schema
        wide = [f.name for f in parts.method.needs.fields if f.width == "classes"]
        self._widest = min((schema.fields[n].width for n in wide if schema is not None), default=2**31)
        self._refresh: LogitRefresh | None = None
        if parts.config.refresh_logits and parts.carousel is not None and parts.method.needs.field("logits"):
            assert parts.memory is not None and parts.store is not None
            self._refresh = LogitRefresh(parts.memory, parts.store)

    @property
    def method(self) -> Method:
        """The method in force."""
        return self.parts.method if self.body is None else self.body

    def learn_body(self, learns: bool) -> None:
        """Whether the body of a closed-form head learns now, by plain SGD and cross-entropy on a linear head."""
        self.body = body_method(self.parts.config) if learns else None

    def use_rate(self, rate: float, trial_steps: int) -> None:
        """Train with a learning rate that trials found."""
        self.parts.config, self.trial_steps = self.parts.config.replace(lr=rate), trial_steps

    @property
    def front_flops(self) -> int:
        """FLOPs of the front for all samples that were taken, stored or trained on."""
        return 0 if self.parts.front is None else self.parts.front.flops

    @property
    def flops(self) -> int:
        """Forward and backward FLOPs of all training so far, as executed; the front's are none of them."""
        return self.parts.ledger.executed(self.parts.engine.meters)

    def context(self, purpose: str, task: TaskInfo, data: TaskData | None = None, **more: Any) -> EventContext:
        """What an event of the method (purpose ``method``) or the policy (``sparsity``) sees."""
        p = self.parts
        return EventContext(p.engine, p.memory, p.random[purpose], task, self.seen, p.ledger, data, p.store, **more)

    def step(
        self,
        rows: TaskRows,
        info: StepInfo,
        c: EventContext,
        *,
        slots: Array | None = None,
        write_fields: bool = False,
    ) -> StepResult:
        """Train on current samples and the method's replay.

        slots : memory slots of a merged batch;  None: the method's draws
        write_fields : also store this step's fields with the current records, for later exchanges
        Raises `NonFiniteLoss` before any weight changed.
        """
        p, method = self.parts, self.method
        if p.carousel is not None:
            if self._refresh is not None:
                self._refresh.before_swaps()
            p.carousel.begin_step(self.steps)
            if self._refresh is not None:
                self._refresh.after_swaps()
        before = p.random.state() if self._foreign else None
        batch = self._batch(rows, self._augmented(rows.x), info, c)
        replay = [self._draw() for _ in range(method.needs.draws)] if slots is None else [self._gathered(slots)]
        result = self._train(method, c, batch, replay, info, learning_rate(p.config, info), before)
        drawn = [d for d in replay if len(d)]
        if result.chosen is not None:
            drawn = [d.take(chosen) for d, chosen in zip(drawn, result.chosen)]
        if self._refresh is not None:
            width = self.width
            for draw, logits in zip(drawn, result.logits_replay):
                self._refresh.renew(draw.slots, np.clip(logits[:, :width], -65504, 65504).astype(np.float16))
        self._exchange(drawn, result, info)
        self._remember(rows, batch, c, result, write_fields)
        self.health.count(result)
        p.ledger.executed_step(p.engine.model, len(rows.x) + (0 if slots is None else len(slots)))
        self.steps += 1
        return result

    def phase_step(self, rows: TaskRows, info: StepInfo, c: EventContext, lr: float) -> float:
        """Train on the rows alone; the loss."""
        batch = self._batch(rows, rows.x if rows.y.ndim == 2 else self._augmented(rows.x), info, c)
        before = self.parts.random.state() if self._foreign else None
        result = self._train(self.method, c, batch, [], info, lr, before)
        only = None if c.phase is None else c.phase.only
        self.parts.ledger.dense_rows(forward=len(rows.x), backward=len(rows.x), only=only)
        self.steps += 1
        return result.loss

    def _batch(self, rows: TaskRows, x: Array, info: StepInfo, c: EventContext) -> Batch:
        return Batch(
            x=x,
            y=rows.y,
            ids=rows.ids,
            indices=rows.indices,
            task=info.task,
            task_units=c.task.units,
            seen_units=self.seen,
        )

    def _train(
        self,
        method: Method,
        c: EventContext,
        batch: Batch,
        replay: list[Draw],
        info: StepInfo,
        lr: float,
        before: dict[str, Any] | None,
    ) -> StepResult:
        """The method's step between what the sparsity policy does. When a class that is not ours fails in it, weights
        and draws are as they were: ``before`` holds the generators' state then."""
        p, micro = self.parts, self.parts.config.micro_rows
        try:
            if p.engine.plan.extras.trains == "all":
                with guard_plugin(p.sparse.policy, "move"):
                    p.sparse.before_forward(p.engine, info, batch, replay, p.random["sparsity"], micro_batch=micro)
            with guard_plugin(method, "train_step"):
                result = method.train_step(c, batch, replay, lr, micro_batch=micro, before_step=self._before_step)
        except BaseException:
            if before is not None:
                p.random.load(before)
                if p.engine.plan.extras.trains != "none":
                    p.engine.discard()
            raise
        if c.phase is None:
            with guard_plugin(method, "after_step"):
                method.after_step(c, result)
        method.average(p.engine, self.steps)
        return result

    def _before_step(self, engine: Engine) -> None:
        self.parts.sparse.before_step(engine)
        self.health.look(engine, self.steps)

    def _augmented(self, x: Array) -> Array:
        augment = self.parts.augment
        return x if augment is None or not len(x) else augment(x, self.parts.random["augment"])

    def _draw(self) -> Draw:
        memory, p = self.parts.memory, self.parts
        if memory is None:
            raise BadInput(f"Method '{p.method.name}' replays, and there is no memory.", "Give --memory at least 1.")
        return self._gathered(memory.draw(p.random["replay"], p.method.needs.candidates or p.config.replay_rows))

    def _gathered(self, slots: Array) -> Draw:
        assert self.parts.memory is not None
        return gather(self.parts.memory, slots, None if self.parts.augment is None else self._augmented)

    def _exchange(self, replay: list[Draw], result: StepResult, info: StepInfo) -> None:
        """Let the gate choose among the replayed slots, from the logits already computed (CarM: from task 2)."""
        p = self.parts
        if p.carousel is None or info.task == 0:
            return
        for draw, logits in zip(replay, result.logits_replay):
            rows = Replayed(logits, draw.y, draw.slots, p.random["gate"], p.config.swap_ratio, info.epoch, info.epochs)
            chosen = self._gate(rows)
            if chosen.size:
                p.carousel.request(self.steps, chosen, p.random["carousel"])

    @property
    def width(self) -> int:
        """Head units whose logits are kept: up to the last one that was seen, and to what the store has room for."""
        return min(int(np.flatnonzero(self.seen)[-1]) + 1, self._widest)

    def _remember(
        self, rows: TaskRows, batch: Batch, c: EventContext, result: StepResult, write_fields: bool
    ) -> None:
        """Offer the un-augmented samples to the memory, with the fields the method wants beside them."""
        p, method = self.parts, self.method
        if p.memory is None or not len(rows.x):
            return
        with guard_plugin(method, "offer_fields"):
            fields = method.offer_fields(result, self.width)
        with guard_plugin(method, "accept"):
            chosen, scores = method.accept(c, batch, result)
        x, y, ids, _, subjects = rows
        offered = fields
        if chosen is not None:
            x, y, ids = x[chosen], y[chosen], ids[chosen]
            subjects = None if subjects is None else subjects[chosen]
            offered = {name: values[chosen] for name, values in fields.items()}
        more = {"scores": scores} if getattr(p.policy, "takes_scores", False) else {}
        with guard_plugin(p.policy, "offer"):
            p.policy.offer(p.memory, p.random["memory"], x, y.astype(np.int32), ids, offered, subjects, **more)
        if write_fields and p.store is not None and fields and (rows.ids >= 0).all():
            short = p.config.flash_writes_per_day is not None
            for name, values in fields.items():
                ticket = p.store.update_field(name, rows.ids, values, optional=short)
                if short and not ticket.ids.size:
                    self.log.append((self.steps, -1, f"flash budget: {name} not stored"))

    # -- saved state

    def state(self) -> dict[str, Any]:
        """Everything a step depends on but the task's position and the model's graph."""
        p = self.parts
        return {
            "steps": self.steps,
            "seen": self.seen.copy(),
            "rate": None if p.config.lr == "auto" else [p.config.rate, self.trial_steps],
            "random": p.random.state(),
            "engine": p.engine.state(),
            "choices": saved_choices(p.engine.plan),
            "method": p.method.state(),
            "body_learns": self.body is not None,
            "sparse": p.sparse.state(),
            "health": self.health.state(),
            "ledger": p.ledger.state(p.engine.meters),
            "memory": None if p.memory is None else p.memory.state(),
            "policy": None if p.policy is None else p.policy.state(),
            "store": None if p.store is None else p.store.state(),
            "carousel": None if p.carousel is None else p.carousel.state(),
            "refresh": None if self._refresh is None else self._refresh.state(),
            "decisions": [list(entry) for entry in self.log],
            "decisions_cut": self.log.cut,
        }

    def load(self, state: Mapping[str, Any], rewind_store: bool = True) -> None:
        """Continue from `state`; the parts must have been made with the same configuration.

        rewind_store : see the store as it was then (a stream that is replayed); a service keeps what came later
        """
        p = self.parts
        self.steps = int(state["steps"])
        self.seen = np.array(state["seen"], bool)
        p.random.load(state["random"])
        if state.get("rate") is not None and p.config.lr == "auto":
            self.use_rate(float(state["rate"][0]), int(state["rate"][1]))
        if p.store is not None and rewind_store:
            p.store.load(state["store"])
        if p.memory is not None:
            p.memory.load(state["memory"])
            p.policy.load(state["policy"])
        if p.carousel is not None:
            p.carousel.load(state["carousel"])
        self.log.restore(state["decisions"], int(state.get("decisions_cut", 0)))
        plan = with_choices(p.engine.plan, state.get("choices", {}))
        if plan is not p.engine.plan:
            p.engine.replan(plan)
        if self._refresh is not None and state.get("refresh") is not None:
            self._refresh.load(state["refresh"])
        p.engine.load(state["engine"])
        with guard_plugin(p.method, "load"):
            p.method.load(state["method"])
        p.sparse.load(state["sparse"])
        self.health.load(state.get("health"))
        p.ledger.load(state["ledger"])
        p.engine.meters = Meters()
