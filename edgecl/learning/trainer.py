"""Trainer: one training step with every part wired. The learner and the runner both drive this and nothing
else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..compiler.blocking import saved_choices, with_choices
from ..config import Config
from ..data.augment import Augmentation
from ..engine.base import Engine, Meters
from ..errors import BadInput
from ..methods import Batch, Draw, Method, Replayed, StepResult, gate
from ..sparsity import SparseTraining, StepInfo
from ..storage import Carousel, EpisodicMemory, SampleStore
from ..storage.decisions import DecisionLog
from .ledger import Ledger
from .randomness import Randomness
from .refresh import LogitRefresh
from .schedule import learning_rate

Array = np.ndarray


@dataclass
class Parts:
    """What a trainer drives; `build_parts` makes them from a configuration."""

    config: Config
    engine: Engine
    method: Method
    sparse: SparseTraining
    random: Randomness
    ledger: Ledger
    augment: Augmentation | None = None
    memory: EpisodicMemory | None = None
    policy: Any = None
    store: SampleStore | None = None
    carousel: Carousel | None = None


class Trainer:
    """steps : training steps so far;  seen : bool [C], head units with at least one sample
    log : what a clock, a load or a sensor decided: (step, slot or -1, decision)
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.steps = 0
        self.log = DecisionLog() if parts.carousel is None else parts.carousel.log
        self.seen = np.zeros(parts.engine.model.graph.classes, bool)
        self._gate = gate(parts.config.gate_name)
        self._refresh: LogitRefresh | None = None
        if parts.config.refresh_logits and parts.carousel is not None and "logits" in parts.method.needs.fields:
            assert parts.memory is not None and parts.store is not None
            self._refresh = LogitRefresh(parts.memory, parts.store)

    @property
    def flops(self) -> int:
        """Forward and backward FLOPs of all training so far, as executed."""
        return self.parts.ledger.executed(self.parts.engine.meters)

    def step(
        self,
        x: Array,
        y: Array,
        ids: Array,
        indices: Array,
        info: StepInfo,
        task_units: Array | None,
        *,
        write_logits: bool = False,
        subjects: Array | None = None,
    ) -> StepResult:
        """Train on current samples x [B, ...] of head units y [B] and the method's replay draws.

        ids : record ids, -1 where the sample is not in the store;  indices : positions within the task's data
        write_logits : also store this step's logits with the current records, for later exchanges
        subjects : int32 [B] whose samples they are, -1 nobody's
        Raises `NonFiniteLoss` before any weight changed.
        """
        p = self.parts
        if p.carousel is not None:
            if self._refresh is not None:
                self._refresh.before_swaps()
            p.carousel.begin_step(self.steps)
            if self._refresh is not None:
                self._refresh.after_swaps()
        batch = Batch(
            x=self._augmented(x),
            y=y,
            ids=ids,
            indices=indices,
            task=info.task,
            task_units=task_units,
            seen_units=self.seen,
        )
        replay = [self._draw() for _ in range(p.method.needs.draws)]
        micro = micro_batch(p.config)
        p.sparse.before_forward(p.engine, info, batch, replay, p.random["sparsity"], micro_batch=micro)
        result = p.method.train_step(
            p.engine,
            batch,
            replay,
            p.random["method"],
            learning_rate(p.config, info),
            micro_batch=micro,
            before_step=p.sparse.before_step,
        )
        drawn = [d for d in replay if len(d)]
        if self._refresh is not None:
            width = int(np.flatnonzero(self.seen)[-1]) + 1
            for draw, logits in zip(drawn, result.logits_replay):
                self._refresh.renew(draw.slots, np.clip(logits[:, :width], -65504, 65504).astype(np.float16))
        self._exchange(drawn, result, info)
        self._remember(x, y, ids, subjects, result, write_logits)
        p.ledger.executed_step(p.engine.model, len(x))
        self.steps += 1
        return result

    def _augmented(self, x: Array) -> Array:
        augment = self.parts.augment
        return x if augment is None else augment(x, self.parts.random["augment"])

    def _draw(self) -> Draw:
        memory, p = self.parts.memory, self.parts
        if memory is None:
            raise BadInput(f"Method '{p.method.name}' replays, and there is no memory.", "Give --memory at least 1.")
        slots = memory.draw(p.random["replay"], p.config.replay_rows)
        got = memory.gather(slots)
        return Draw(
            slots=slots,
            x=self._augmented(got["samples"]),
            y=got["classes"].astype(np.int64),
            logits=got["fields"].get("logits"),
            widths=got["widths"].get("logits"),
        )

    def _exchange(self, replay: list[Draw], result: StepResult, info: StepInfo) -> None:
        """Let the gate choose among the replayed slots, from the logits already computed (CarM: from task
        2)."""
        p = self.parts
        if p.carousel is None or info.task == 0:
            return
        for draw, logits in zip(replay, result.logits_replay):
            rows = Replayed(logits, draw.y, draw.slots, p.random["gate"], p.config.swap_ratio, info.epoch, info.epochs)
            chosen = self._gate(rows)
            if chosen.size:
                p.carousel.request(self.steps, chosen, p.random["carousel"])

    def _remember(
        self, x: Array, y: Array, ids: Array, subjects: Array | None, result: StepResult, write_logits: bool
    ) -> None:
        """Offer the un-augmented samples to the memory, with the fields the method wants beside them."""
        p = self.parts
        if p.memory is None:
            return
        width = int(np.flatnonzero(self.seen)[-1]) + 1
        fields = p.method.offer_fields(result, width)
        p.policy.offer(p.memory, p.random["memory"], x, y.astype(np.int32), ids, fields, subjects)
        if write_logits and p.store is not None and fields and (ids >= 0).all():
            short = p.config.flash_writes_per_day is not None
            ticket = p.store.update_field("logits", ids, fields["logits"], optional=short)
            if short and not ticket.ids.size:
                self.log.append((self.steps, -1, "flash budget: logits not stored"))

    # -- saved state

    def state(self) -> dict[str, Any]:
        """Everything a step depends on but the task's position and the model's graph."""
        p = self.parts
        return {
            "steps": self.steps,
            "seen": self.seen.copy(),
            "random": p.random.state(),
            "engine": p.engine.state(),
            "choices": saved_choices(p.engine.plan),
            "method": p.method.state(),
            "sparse": p.sparse.state(),
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

        rewind_store : see the store as it was then (a stream that is replayed); a service keeps what came
            later
        """
        p = self.parts
        self.steps = int(state["steps"])
        self.seen = np.array(state["seen"], bool)
        p.random.load(state["random"])
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
        p.method.load(state["method"])
        p.sparse.load(state["sparse"])
        p.ledger.load(state["ledger"])
        p.engine.meters = Meters()


def micro_batch(config: Config) -> int | None:
    """Rows of one forward at most. ``auto`` has been made a number by the planner, or means no limit."""
    return config.micro_batch if isinstance(config.micro_batch, int) else None
