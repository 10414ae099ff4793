"""FLOP ledger: what the engine executed, and what the same run would cost dense."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ..compiler.extras import trained_parameters
from ..compiler.flops import WeightCost, weight_costs
from ..engine.base import Meters
from ..engine.model import Model
from ..graph import Graph
from ..planning.schedules import steps_of


class Ledger:
    """Training FLOPs in two conventions: every pass of ours, and those SparCL counts.

    full : every forward and backward that ran, replay included (executed: the engine's meters); ``dense`` is
        the same run at density 1, keep 1, removal 0, rows counted by `DenseRows`.
    sparcl_convention : per step, current rows 1 forward + 2 backward units (the backward units times the
        gradient
        keep fraction), each replay draw 1 forward unit over ``replay_rows``, charged from the first task on.
    """

    def __init__(self, graph: Graph, keep: float, draws: int, replay_rows: int, trains: str = "all") -> None:
        self.keep, self.draws, self.replay_rows = keep, draws, replay_rows
        self.full_dense = 0
        self.sparcl_dense = 0
        self.sparcl_executed = 0.0
        self.earlier = Meters()  # of engines before a replan or a resume
        self.use(graph, trains)

    def use(self, graph: Graph, trains: str = "all") -> None:
        """Count for this graph from now on (a wider head changes the cost of a row).

        trains : what the plan trains (`Extras.trains`). With ``none`` a step is nothing but the evaluations that the
            method asks for, which `dense_rows` charges
        """
        trained = set(trained_parameters(graph, trains))
        self.trains = trains
        self.costs: tuple[WeightCost, ...] = weight_costs(graph, trained)
        self._sizes = {c.name: graph.parameters[c.name].size for c in self.costs}
        self._own = {name: size if name in trained else 0 for name, size in self._sizes.items()}
        self._dense_forward = sum(c.forward(self._sizes[c.name], 1) for c in self.costs)
        self._dense_backward = self._backward_of(trained)

    def executed_step(self, model: Model, current_rows: int) -> None:
        """After a step: charge it in the SparCL convention at the present densities."""
        unit = sum(c.forward(model[c.name].living, 1) for c in self.costs)
        self.sparcl_executed += unit * (current_rows * (1 + 2 * self.keep) + self.draws * self.replay_rows)

    def dense_step(self, current_rows: int, replay_rows: int) -> None:
        """Charge one step of the dense run: ``replay_rows`` over all draws, in the full convention."""
        if self.trains != "none":
            self.full_dense += (self._dense_forward + self._dense_backward) * (current_rows + replay_rows)
        self.sparcl_dense += self._dense_forward * (3 * current_rows + self.draws * self.replay_rows)

    def dense_rows(self, forward: float = 0, backward: float = 0, only: Collection[str] | None = None) -> None:
        """Charge rows of the dense run beside its steps: teachers, scores, phases. Full convention only: SparCL's
        counts the usual step.

        only : the parameters that train in it, by default all that the plan trains
        """
        each = self._dense_backward if only is None else self._backward_of(only)
        self.full_dense += round(self._dense_forward * forward + each * backward)

    def _backward_of(self, names: Collection[str]) -> int:
        """FLOPs of a row's dense backward where of the weights only ``names`` get a gradient."""
        own = {name: size if name in names else 0 for name, size in self._own.items()}
        return sum(c.backward(self._sizes[c.name], own[c.name], 1) for c in self.costs)

    def executed(self, meters: Meters) -> int:
        """Full convention: forward and backward FLOPs of all training so far."""
        return self.earlier.forward_flops + self.earlier.backward_flops + meters.forward_flops + meters.backward_flops

    def to_json(self, meters: Meters) -> dict[str, Any]:
        """The record's ``flops``. overhead: FLOPs on padding zeros and on lanes that hold no sample;
        overhead_ratio: all work over work on real data.
        """
        executed = self.executed(meters)
        halo = self.earlier.halo_flops + meters.halo_flops
        lanes = self.earlier.padded_lane_flops + meters.padded_lane_flops
        return {
            "full": {"dense": self.full_dense, "executed": executed},
            "sparcl_convention": {"dense": self.sparcl_dense, "executed": round(self.sparcl_executed)},
            "overhead": halo + lanes,
            "overhead_ratio": (executed + lanes) / max(executed - halo, 1),
        }

    def state(self, meters: Meters) -> dict[str, Any]:
        total = {k: v + getattr(self.earlier, k) for k, v in meters.to_json().items()}
        return {
            "full_dense": self.full_dense,
            "sparcl_dense": self.sparcl_dense,
            "sparcl_executed": self.sparcl_executed,
            "meters": total,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from `state` with an engine whose meters start at 0."""
        self.full_dense, self.sparcl_dense = state["full_dense"], state["sparcl_dense"]
        self.sparcl_executed = state["sparcl_executed"]
        self.earlier = Meters(**state["meters"])


class DenseRows:
    """Counts what the dense run would have in each step: it removes nothing, so its later epochs are longer.

    Where nothing is removed its steps have the rows of ours. Otherwise a reservoir fills by every offer, so its filling
    is followed step by step. The other policies are full for the classes at hand after one epoch, in which nothing has
    been removed yet: the memory's own filling is the dense run's too.
    """

    def __init__(self, slots: int, reservoir: bool) -> None:
        self.slots, self.reservoir = slots, reservoir
        self.filled = 0
        self.done = 0  # steps of this epoch already charged

    def charge_step(self, ledger: Ledger, current: int, replayed: int) -> None:
        """Charge a step with the rows that ours had: nothing is removed."""
        ledger.dense_step(current, replayed)
        if self.reservoir:
            self.filled = min(self.slots, self.filled + current)

    def charge(self, ledger: Ledger, samples: int, batch: int, drop_last: bool, progress: float, filled: int) -> None:
        """Charge the steps of a dense epoch over ``samples`` up to ``progress`` in 0..1; 1 ends the epoch.

        filled : slots of the memory in use before the step that was just done
        """
        steps = steps_of(samples, batch, drop_last)
        until = steps if progress >= 1 else round(progress * steps)
        if not self.reservoir:
            self.filled = filled
        for i in range(self.done, until):
            rows = min(batch, samples - i * batch)
            ledger.dense_step(rows, ledger.draws * min(ledger.replay_rows, self.filled))
            if self.reservoir:
                self.filled = min(self.slots, self.filled + rows)
        self.done = 0 if progress >= 1 else until

    def state(self) -> dict[str, int]:
        return {"filled": self.filled, "done": self.done}

    def load(self, state: Mapping[str, int]) -> None:
        self.filled, self.done = state["filled"], state["done"]
