"""Blocking is a choice of the plan: values differ by rounding alone, measured entries are used, checkpoints keep it."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecl.compiler import Optimizer, Plan, compile_plan
from edgecl.compiler.blocking import (
    choose_blocking,
    entry_key,
    keep_entries,
    measured_entries,
    saved_choices,
    table_path,
    with_choices,
)
from edgecl.engine import Model
from edgecl.engine.native import NativeEngine
from edgecl.engine.tune import tune
from edgecl.graph.builders import build


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGECL_CACHE", str(tmp_path))


GRAPH = build("cnn", (1, 28, 28), 10, input_dtype="float32", widths=(5, 12, 9))
WEIGHTS = [n for n in GRAPH.nodes if n.op in ("conv2d", "linear")]
DENSITIES = {n.parameters[0]: 0.3 for n in WEIGHTS[1:3]}


def trained(blocking, batch=5, threads=2):
    """Values after two steps of the small network with this blocking."""
    rng = np.random.default_rng(3)

    def prune(p):
        if p.spec.name in DENSITIES:
            p.set_pattern(np.sort(rng.choice(p.spec.size, round(0.3 * p.spec.size), replace=False)))

    model = Model(GRAPH, rng, prune)
    plan = compile_plan(
        GRAPH, batch=batch, densities=DENSITIES, optimizer=Optimizer(momentum=0.9), threads=threads, blocking=blocking
    )
    engine = NativeEngine(model, plan)
    x = rng.normal(size=(batch, 1, 28, 28)).astype(np.float32)
    for _ in range(2):
        logits = engine.forward({GRAPH.input: x})["logits"]
        engine.backward({"logits": logits * np.float32(0.1)})
        engine.step(0.1)
    return np.concatenate([p.values for p in model.parameters.values()])


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), min_size=len(WEIGHTS), max_size=len(WEIGHTS)))
@settings(deadline=None, max_examples=10)
def test_blocking_changes_results_by_rounding_alone_and_threads_not_at_all(blocks):
    chosen = {n.name: b for n, b in zip(WEIGHTS, blocks)}
    found = trained(chosen)
    np.testing.assert_allclose(found, trained(None), rtol=1e-5, atol=1e-6)
    assert np.array_equal(found, trained(chosen, threads=1))


def test_the_plan_says_what_was_chosen_and_survives_json():
    plan = compile_plan(GRAPH, batch=4, densities=DENSITIES, blocking={"conv2": (3, 2)})
    assert plan.program["blocking"]["conv2"] == [3, 2]
    assert set(plan.program["blocking"]) == {n.name for n in WEIGHTS}
    assert Plan.from_json(plan.to_json()).program["blocking"] == plan.program["blocking"]


def test_a_measured_entry_replaces_the_static_table_for_its_layer_and_density_only():
    plan = compile_plan(GRAPH, batch=4, densities=DENSITIES)
    isa, lanes = plan.program["isa"], plan.program["lanes"]
    keep_entries({entry_key(GRAPH, "conv2", 0.3, lanes, isa): (2, 7)})
    again = compile_plan(GRAPH, batch=4, densities=DENSITIES).program["blocking"]
    assert again["conv2"] == [2, 7]
    assert {k: v for k, v in again.items() if k != "conv2"} == {
        k: v for k, v in plan.program["blocking"].items() if k != "conv2"
    }
    assert compile_plan(GRAPH, batch=4).program["blocking"]["conv2"] != [2, 7]


@pytest.mark.parametrize("text", ["", "{}", '{"format": 99, "entries": {}}', '{"format": 1, "entries": {"a": 3}}'])
def test_a_damaged_table_is_as_good_as_none(text):
    Path(table_path()).write_text(text)
    assert measured_entries() == {}
    assert choose_blocking(GRAPH, {}, 4)


def test_a_checkpoint_brings_its_blocking_to_a_plan_of_the_same_vectors():
    old = compile_plan(GRAPH, batch=4, densities=DENSITIES, blocking={"conv2": (1, 1)})
    new = compile_plan(GRAPH, batch=4, densities=DENSITIES)
    assert with_choices(new, saved_choices(old)).program["blocking"] == old.program["blocking"]
    assert with_choices(new, {**saved_choices(old), "lanes": 3}) is new
    assert with_choices(new, {}) is new


def test_tuning_measures_every_layer_and_proposes_possible_blocks():
    rows = tune(GRAPH, 4, DENSITIES, 1, np.random.default_rng(0), steps=1, candidates=(2, 64))
    assert {r.node for r in rows} == {n.name for n in WEIGHTS}
    for row in rows:
        assert row.best_ms[0] <= row.static_ms[0] and row.best_ms[1] <= row.static_ms[1]
        assert row.best[0] >= 1 and row.best[1] >= 1
        assert (row.best == row.static) == (row.best_ms == row.static_ms)
