"""Plan: what will run and what it will use, made before anything is allocated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..graph import Graph
from .extras import Extras


@dataclass(frozen=True)
class Optimizer:
    """``sgd`` (momentum, weight decay added to the gradient as torch does) or ``adam`` (torch's defaults)."""

    kind: str = "sgd"
    momentum: float = 0.0
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def moments(self) -> tuple[str, ...]:
        """Names of the optimizer's state arrays."""
        if self.kind == "adam":
            return ("adam_m", "adam_v")
        return ("momentum",) if self.momentum else ()


@dataclass(frozen=True)
class Plan:
    """Made by `compile_plan`. Sizes in bytes.

    batch : largest number of samples in one training forward
    predict_batch : largest number in one prediction
    densities : highest density of each weight tensor over the schedule (1.0 where absent)
    program : the native engine's ordered operations and buffers (see `lower`); empty for the torch engine
    memory : bytes by purpose, ``arena`` (training), ``predict_arena``, ``parameters``, ``kernels``; their sum is
        what the engine will allocate
    extras : what stands beside logits and model: fetched tensors, sides, arrays per weight, what is trained
    """

    graph: Graph
    batch: int
    predict_batch: int
    optimizer: Optimizer
    threads: int = 1
    densities: Mapping[str, float] = field(default_factory=dict)
    program: Mapping[str, Any] = field(default_factory=dict)
    memory: Mapping[str, int] = field(default_factory=dict)
    extras: Extras = field(default_factory=Extras)

    @property
    def bytes(self) -> int:
        return sum(self.memory.values())

    def to_json(self) -> dict[str, Any]:
        """A plain form that travels with checkpoints; `from_json` reads it back."""
        return {
            "graph": self.graph.to_json(),
            "batch": self.batch,
            "predict_batch": self.predict_batch,
            "optimizer": asdict(self.optimizer),
            "threads": self.threads,
            "densities": dict(self.densities),
            "program": dict(self.program),
            "memory": dict(self.memory),
            "extras": asdict(self.extras),
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Plan:
        graph, optimizer = Graph.from_json(data["graph"]), Optimizer(**data["optimizer"])
        extras = Extras(**data.get("extras", {}))
        return Plan(**{**data, "graph": graph, "optimizer": optimizer, "extras": extras})
