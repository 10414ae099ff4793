"""Engines under test: native always, torch where it is installed."""

import pytest

from edgecl.compiler import Optimizer, Plan, compile_plan
from edgecl.engine.native import NativeEngine


@pytest.fixture(params=["native", "torch"])
def engine_for(request):
    """engine_for(model, optimizer=Optimizer(), densities=None): an engine for batches of at most 64."""

    def make(model, optimizer=None, densities=None):
        optimizer = optimizer or Optimizer()
        if request.param == "native":
            plan = compile_plan(model.graph, batch=64, predict_batch=64, densities=densities, optimizer=optimizer)
            return NativeEngine(model, plan)
        pytest.importorskip("torch").set_num_threads(1)
        from edgecl.engine.torch import TorchEngine

        return TorchEngine(model, Plan(model.graph, 64, 64, optimizer))

    return make
