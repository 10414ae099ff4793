"""The engines under test: add a name here and `kind_engine` an entry."""

from dataclasses import fields

import numpy as np
import pytest
from small_nets import SEED

from edgecl.compiler import Optimizer, Plan
from edgecl.compiler.extras import Extras
from edgecl.engine import Model

ENGINES = ["torch", "native"]


def make_engine(kind, graph, model=None, optimizer=None, *, batch=16, predict_batch=16, fetch=(), rng=None, **plan):
    """An engine of that kind over ``model`` (default: fresh, from SEED)."""
    model = model or Model(graph, np.random.default_rng(SEED))
    return kind_engine(kind)(model, make_plan(kind, graph, optimizer, batch, predict_batch, fetch, **plan), rng)


def make_plan(kind, graph, optimizer=None, batch=16, predict_batch=16, fetch=(), **plan):
    optimizer = optimizer or Optimizer()
    if kind == "torch":
        extras = {f.name: plan.pop(f.name) for f in fields(Extras) if f.name in plan}
        return Plan(graph, batch, predict_batch, optimizer, extras=Extras(fetch, **extras), **plan)
    from edgecl.compiler import compile_plan

    return compile_plan(graph, batch=batch, predict_batch=predict_batch, optimizer=optimizer, fetch=fetch, **plan)


def kind_engine(kind):
    if kind == "torch":
        torch = pytest.importorskip("torch")
        torch.set_num_threads(1)
        from edgecl.engine.torch import TorchEngine

        return TorchEngine
    pytest.importorskip("edgecl._kernels")
    from edgecl.engine.native import NativeEngine

    return NativeEngine
