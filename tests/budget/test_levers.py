"""What the planner does when memory is short: cheapest first, each change named with its cost in time."""

import pytest

from edgecl.budget.planner import MARGIN, SMALLEST_BATCH, SMALLEST_PREDICT, plan_run
from edgecl.compiler import compile_plan, row_cost
from edgecl.config import Config
from edgecl.errors import InfeasibleBudget
from edgecl.graph.builders import build

GRAPH = build("resnet20", (3, 32, 32), 10)
FREE = frozenset({"memory", "batch", "micro_batch", "predict_batch"})


def candidate(config, graph=GRAPH):
    """The engine's memory and 10 kB a slot."""
    rows = 2 * config.batch
    if isinstance(config.micro_batch, int):
        rows = min(rows, config.micro_batch)
    plan = compile_plan(
        graph,
        batch=rows,
        predict_batch=min(rows, config.predict_batch or 32),
        activations="bfloat16" if config.activations == "bfloat16" else "float32",
    )
    return plan, {**plan.memory, "memory": config.memory * 10_000}


def planned(budget=None, free=FREE, graph=GRAPH, **options):
    def of(config):
        return candidate(config, graph)

    return plan_run(Config.make({"network": "resnet20", **options}), of, baseline=0, budget=budget, free=free)


def test_nothing_is_changed_where_everything_fits():
    plan = planned(10**9)
    assert plan.choices == () and plan.plan.predict_batch == 32
    assert plan.config.activations == plan.plan.program["activations"] == "float32"


def test_evaluation_gives_way_first_and_training_stays_as_it_was():
    whole = planned()
    short = planned(int((whole.peak_bytes - 1) / MARGIN))
    assert short.plan.batch == whole.plan.batch and short.config.memory == whole.config.memory
    assert short.plan.predict_batch < whole.plan.predict_batch
    assert short.plan.program["train"] == whole.plan.program["train"]
    assert "evaluation in batches of 16" in short.choices[0] and "times as long" in short.choices[0]


def test_a_given_batch_has_activations_wait_in_16_bits_before_slots_are_given_up():
    budget = int(planned().peak_bytes * 0.75)
    fixed = FREE - {"batch"}
    plan = planned(budget, free=fixed)
    assert plan.plan.program["activations"] == plan.config.activations == "bfloat16"
    assert (plan.config.batch, plan.config.memory) == (planned().config.batch, planned().config.memory)
    assert "bfloat16" in plan.choices[-1] and "times as long" in plan.choices[-1]
    with pytest.raises(InfeasibleBudget):
        planned(budget, free=fixed, activations="float32")


def test_an_open_batch_is_halved_before_activations_lose_bits():
    """It costs no accuracy and, vectors being full, no time; with 4 it does."""
    seen = []
    for share in (0.9, 0.6, 0.4, 0.28, 0.24):
        try:
            plan = planned(int(planned().peak_bytes * share))
        except InfeasibleBudget:
            break
        seen.append((plan.config.batch, plan.config.activations, plan.config.memory))
        assert plan.config.activations == "float32" or plan.config.batch <= 8, seen
        assert plan.config.memory == 500 or plan.config.activations == "bfloat16", seen
    assert len({batch for batch, _, _ in seen}) >= 2 and seen[-1][1] == "bfloat16"


def test_the_batch_gives_way_before_slots():
    whole = planned()
    seen = []
    for share in (0.9, 0.7, 0.5, 0.35, 0.25, 0.2):
        try:
            plan = planned(int(whole.peak_bytes * share), activations="float32")
        except InfeasibleBudget:
            break
        seen.append((plan.config.batch, plan.config.memory))
        assert plan.config.memory == 500 or plan.config.batch == SMALLEST_BATCH, seen
    assert seen[-1][1] < 500 and seen[-1][0] >= 4 and len(seen) >= 4


def test_slots_are_given_back_where_a_later_choice_made_room():
    """The last lever frees far more than was missing: the slots lowered before it come back, to the byte."""
    whole = planned(batch=8, memory=500, activations="float32")
    smallest = planned(batch=4, memory=500, activations="float32", predict_batch=4)
    budget = int((smallest.peak_bytes + 1) / MARGIN)
    assert budget * MARGIN < whole.peak_bytes
    plan = planned(budget, free=FREE - {"predict_batch"}, activations="float32", predict_batch=4)
    assert (plan.config.batch, plan.config.memory) == (4, 500)
    assert not any("memory lowered" in c for c in plan.choices)
    fewer = planned(budget - 1_000_000, free=FREE - {"predict_batch"}, activations="float32", predict_batch=4)
    assert fewer.config.batch == 4 and fewer.config.memory in (404, 405)  # 10 kB a slot
    assert MARGIN * (budget - 1_000_000) - fewer.peak_bytes < 10_000
    assert any("memory lowered from 500" in c for c in fewer.choices)


def test_activations_and_evaluation_come_back_where_a_smaller_batch_made_room():
    """Half of the batch frees far more than was missing: bfloat16 and small evaluations are no longer called for."""
    graph = build("cnn", (1, 28, 28), 10)  # its bfloat16 saves little
    half = planned(batch=16, graph=graph)
    plan = planned(int((half.peak_bytes + 1) / MARGIN), graph=graph)
    assert (plan.config.batch, plan.config.memory, plan.config.activations) == (16, 500, "float32")
    assert plan.plan.program["activations"] == "float32" and plan.plan.predict_batch == half.plan.predict_batch
    assert [c.split()[0] for c in plan.choices] == ["batch"]
    less = planned(int((half.peak_bytes - 1000) / MARGIN), graph=graph)  # room for some rows of an evaluation, not all
    assert less.config.batch == 16 and less.config.activations == "float32"
    assert SMALLEST_PREDICT <= less.plan.predict_batch < half.plan.predict_batch
    assert f"evaluation in batches of {less.plan.predict_batch} rows" in less.choices[0]


def test_each_choice_says_what_it_frees():
    whole = planned()
    plan = planned(int(whole.peak_bytes * 0.3))
    freed = [float(c.rsplit("frees ", 1)[1].split(" ")[0]) for c in plan.choices]
    assert sum(freed) == pytest.approx((whole.peak_bytes - plan.peak_bytes) / 1e6, abs=0.02 * len(freed))
    levers = [c.split()[0] for c in plan.choices]
    assert len(levers) == len(set(levers))  # one line a lever


def test_of_two_levers_the_one_that_costs_less_time_comes_first():
    whole = planned()
    plan = planned(int(whole.peak_bytes * 0.8), micro_batch="auto", batch=32)
    first = next(c for c in plan.choices if "evaluation" not in c)
    assert first.startswith("micro-batch")  # full vectors either way: no time lost
    if row_cost(8) == 1.0:  # vectors of 8: halving 16 rows costs nothing, so that lever does come first
        return
    plan = planned(int(whole.peak_bytes * 0.15), micro_batch="auto", batch=8, memory=50)
    words = [c.split()[0] for c in plan.choices if "evaluation" not in c]
    assert words.index("activations") < words.index("micro-batch")


@pytest.mark.parametrize("share", [0.9, 0.7, 0.5, 0.3])
def test_every_plan_fits_and_says_what_each_change_costs(share):
    budget = int(planned().peak_bytes * share)
    plan = planned(budget, micro_batch="auto")
    assert plan.peak_bytes <= MARGIN * budget
    assert plan.choices
    for choice in plan.choices:
        assert "times as long" in choice or "slots" in choice


def test_options_the_user_set_are_left_alone():
    budget = int(planned().peak_bytes * 0.9)
    with pytest.raises(InfeasibleBudget):
        planned(budget, free=frozenset(), activations="float32")
    given = {"predict_batch": 32, "activations": "float32"}
    budget = int((planned(**given).peak_bytes - 2_000_000) / MARGIN)
    plan = planned(budget, free=FREE - {"predict_batch", "batch"}, **given)
    assert plan.plan.predict_batch == 32 and plan.config.memory < 500 and plan.config.batch == 32


def test_full_vectors_are_cheapest_and_single_samples_dearest():
    costs = [row_cost(rows) for rows in (1, 2, 4, 8, 16, 32)]
    assert costs == sorted(costs, reverse=True) and costs[-1] == 1.0
