"""Engines by name. Each is imported only when asked for: torch is optional, the kernels are compiled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from ..compiler import Optimizer, Plan, compile_plan
from ..compiler.extras import Extras, fetched_tensors, trained_parameters
from ..errors import require, unknown_name
from ..graph import Graph
from .base import Engine
from .model import Model

ENGINES = ("native", "torch")


def import_engine(engine: str) -> None:
    """Import and touch what ``engine`` runs on, so that a baseline taken afterwards holds it."""
    if engine == "native":
        from .warm import warm

        warm()
    elif engine == "torch":
        require("torch", "torch")
        from . import torch  # noqa: F401


def make_engine(model: Model, plan: Plan, engine: str = "native", rng: np.random.Generator | None = None) -> Engine:
    """The engine called ``engine`` over ``model``. ``rng`` draws dropout masks."""
    if engine == "native":
        from .native import NativeEngine

        return NativeEngine(model, plan, rng)
    if engine == "torch":
        require("torch", "torch")
        from .torch import TorchEngine

        return TorchEngine(model, plan, rng)
    raise unknown_name("engine", engine, ENGINES)


def compile_for(
    engine: str,
    graph: Graph,
    *,
    batch: int,
    predict_batch: int,
    densities: Mapping[str, float],
    optimizer: Optimizer,
    threads: int,
    activations: str = "float32",
    **extras: Any,
) -> Plan:
    """A plan for that engine; the torch engine needs no program, predicts no bytes and keeps activations in float32.

    extras : those of `Extras`: fetch, predict_fetch, sides, per_weight, gradient_copies, trains
    """
    wanted = Extras(**extras)
    choices: dict[str, Any] = {
        "batch": batch,
        "predict_batch": predict_batch,
        "densities": densities,
        "optimizer": optimizer,
        "threads": threads,
    }
    if engine == "torch":
        for names in (wanted.fetch, wanted.predict_fetch):
            fetched_tensors(graph, names)
        trained_parameters(graph, wanted.trains)
        return Plan(graph, **choices, extras=wanted)
    return compile_plan(graph, activations=activations, **choices, **asdict(wanted))
