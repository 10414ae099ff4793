"""A contract test takes ``engine_factory`` and runs once for each engine."""

import pytest
from engine_kinds import ENGINES, make_engine, make_plan


@pytest.fixture(params=ENGINES)
def engine_factory(request):
    """engine_factory(graph, model=None, optimizer=None, batch=, predict_batch=, fetch=, rng=) -> Engine."""

    def make(graph, model=None, optimizer=None, **choices):
        return make_engine(request.param, graph, model, optimizer, **choices)

    make.kind = request.param
    make.plan = lambda graph, *args, **choices: make_plan(request.param, graph, *args, **choices)
    return make
