"""The engine contract, clause by clause, for every engine."""

import threading

import numpy as np
import pytest
from engine_kinds import ENGINES, make_engine
from small_nets import (
    data,
    pass_through,
    random_pattern,
    relative,
    residual,
    same_state,
    seed_gradient,
    small_cnn,
    small_mlp,
    sparse_model,
    train,
)  # fmt: skip

from edgecl.compiler import Optimizer, weight_costs
from edgecl.errors import BadInput, EdgeclError

OPTIMIZERS = [
    Optimizer(),
    Optimizer(momentum=0.9, weight_decay=0.01),
    Optimizer("adam", weight_decay=0.01),
]
optimizers = pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["sgd", "momentum", "adam"])
SPARSE = "conv2.weight"


# ---- forward and backward


def test_forward_returns_float32_logits_of_the_batch(engine_factory):
    graph = small_cnn()
    engine = engine_factory(graph)
    for n in (1, 5, 16):
        logits = engine.forward({"input": data(graph, n)[0]})["logits"]
        assert logits.shape == (n, 4) and logits.dtype == np.float32


def test_any_planned_tensor_can_be_fetched_and_seeded(engine_factory):
    graph = small_cnn()
    x, y = data(graph, 6)
    engine = engine_factory(graph, fetch=("pooled",))
    outs = engine.forward({"input": x}, fetch=("logits", "pooled"))
    assert outs["pooled"].shape == (6, 8)
    seed = seed_gradient(outs["logits"], y)
    # the classifier's gradient by hand: seeding its input instead leaves everything before it alike
    at_pooled = seed @ engine.model["logits.weight"].dense()
    engine.backward({"logits": seed})
    through_logits = {n: engine.gradients[n].copy() for n in ("conv1.weight", "conv3.weight")}
    engine.discard()
    engine.forward({"input": x}, fetch=("logits", "pooled"))
    engine.backward({"pooled": at_pooled})
    for name, expected in through_logits.items():
        assert relative(engine.gradients[name], expected) < 1e-4
    assert not engine.gradients["logits.weight"].any()


def test_gradients_are_flat_over_living_weights_in_graph_order(engine_factory):
    graph = small_cnn()
    model = sparse_model(graph)
    engine = engine_factory(graph, model)
    pass_through(engine, *data(graph, 8))
    trained = [p for p in model.parameters.values() if p.spec.trained]
    assert engine.gradients.flat.size == sum(p.living for p in trained)
    expected = np.concatenate([engine.gradients[p.spec.name] for p in trained])
    assert np.array_equal(engine.gradients.flat, expected)
    flat = engine.gradients.copy()
    assert engine.gradients.norm() == pytest.approx(np.linalg.norm(flat.astype(float)), rel=1e-5)
    assert engine.gradients.dot(flat) == pytest.approx(float(flat.astype(float) @ flat), rel=1e-5)
    engine.gradients.scale(2.0)
    engine.gradients.axpy(-1.0, flat)
    assert relative(engine.gradients.flat, flat) < 1e-6


def test_what_is_written_to_the_flat_gradient_is_what_step_uses(engine_factory):
    graph = small_mlp()
    engine = engine_factory(graph)
    before = engine.snapshot()
    pass_through(engine, *data(graph, 4))
    engine.gradients.flat[:] = 1
    engine.step(0.5)
    for name, p in engine.model.parameters.items():
        assert np.allclose(p.values, before[name] - 0.5, atol=1e-6)


def test_backward_accumulates_until_step(engine_factory):
    graph = small_mlp()
    x, y = data(graph, 8)
    engine = engine_factory(graph)
    alone = []
    for rows in (slice(0, 5), slice(5, 8)):
        pass_through(engine, x[rows], y[rows])
        alone.append(engine.gradients.copy())
        engine.clear_gradients()
        assert not engine.gradients.flat.any()
    pass_through(engine, x[:5], y[:5])
    pass_through(engine, x[5:], y[5:])
    assert relative(engine.gradients.flat, alone[0] + alone[1]) < 1e-6
    engine.step(0.1)
    assert not engine.gradients.flat.any()


def test_the_gradient_of_a_sparse_tensor_is_the_dense_one_where_it_lives(engine_factory):
    graph = small_cnn()
    sparse = sparse_model(graph)
    dense = sparse_model(graph, 1.0)
    for name, p in sparse.parameters.items():
        dense[name].set_pattern(None)
        dense[name].values[:] = p.dense().ravel()
    x, y = data(graph, 8)
    a, b = engine_factory(graph, sparse), engine_factory(graph, dense)
    assert relative(pass_through(a, x, y), pass_through(b, x, y)) < 1e-5
    for name in graph.prunable():
        assert relative(a.gradients[name], b.gradients[name][sparse[name].pattern]) < 1e-4


def test_dense_gradients_are_visited_in_blocks_once(engine_factory):
    graph = small_cnn()
    model = sparse_model(graph)
    full = sparse_model(graph, 1.0)
    for name, p in model.parameters.items():
        full[name].set_pattern(None)
        full[name].values[:] = p.dense().ravel()
    x, y = data(graph, 8)
    reference = engine_factory(graph, full)
    pass_through(reference, x, y)

    engine = engine_factory(graph, model)
    seen = {n: np.full(model[n].spec.shape, np.nan, np.float32) for n in graph.prunable()}

    def visit(name, rows, block):
        assert block.shape == (len(rows), *model[name].spec.shape[1:]) and block.dtype == np.float32
        assert np.isnan(seen[name][rows.start : rows.stop]).all()
        seen[name][rows.start : rows.stop] = block

    engine.visit_dense_gradients(graph.prunable(), visit)
    pass_through(engine, x, y)
    for name, found in seen.items():
        assert relative(found.ravel(), reference.gradients[name]) < 1e-4
    engine.step(0.0)
    pass_through(engine, x, y)  # the visit ended with the step: another would meet values that are no longer NaN


def test_an_evaluation_forward_does_not_disturb_the_backward_of_the_training_forward(engine_factory):
    graph = small_cnn()
    x, y = data(graph, 8)
    other, _ = data(graph, 5, seed=1)
    a, b = engine_factory(graph), engine_factory(graph)
    pass_through(a, x, y)
    teacher = b.snapshot()
    logits = b.forward({"input": x})["logits"]
    b.forward({"input": other}, training=False)
    b.forward({"input": other}, training=False, params=teacher)
    b.predictor(4)(other)
    b.backward({"logits": seed_gradient(logits, y)})
    assert np.array_equal(a.gradients.flat, b.gradients.flat)
    a.step(0.1), b.step(0.1)
    assert same_state(a.state(), b.state())


def test_backward_without_a_training_forward_is_refused(engine_factory):
    graph = small_mlp()
    engine = engine_factory(graph)
    seed = {"logits": np.zeros((2, 3), np.float32)}
    with pytest.raises(EdgeclError):
        engine.backward(seed)
    engine.forward({"input": data(graph, 2)[0]}, training=False)
    with pytest.raises(EdgeclError):
        engine.backward(seed)


# ---- masks and freezing


@optimizers
def test_weights_outside_the_gradient_mask_stay_bit_equal(engine_factory, optimizer):
    graph = small_cnn()
    engine = engine_factory(graph, sparse_model(graph), optimizer)
    x, y = data(graph, 8)
    train(engine, x, y)
    p = engine.model[SPARSE]
    subset = np.arange(0, p.living, 3, dtype=np.int32)
    outside = np.setdiff1d(np.arange(p.living), subset)
    engine.set_gradient_mask(SPARSE, subset)
    before = [p.values.copy(), *(m.copy() for m in p.moments.values())]
    train(engine, x, y)
    after = [p.values, *p.moments.values()]
    for old, new in zip(before, after):
        assert old[outside].tobytes() == new[outside].tobytes()
        assert np.mean(old[subset] != new[subset]) > 0.9
    assert not engine.gradients[SPARSE].any()
    pass_through(engine, x, y)
    assert not engine.gradients[SPARSE][outside].any() and engine.gradients[SPARSE][subset].any()
    engine.step(0.1)
    engine.set_gradient_mask(SPARSE, None)
    before = p.values.copy()
    train(engine, x, y)
    assert np.mean(before != p.values) > 0.9


@optimizers
def test_a_mask_set_after_backward_rules_the_step(engine_factory, optimizer):
    """The refresh of dynamic gradient masking: full gradient, then the mask, then the step."""
    graph = small_cnn()
    engine = engine_factory(graph, sparse_model(graph), optimizer)
    x, y = data(graph, 8)
    train(engine, x, y)
    p = engine.model[SPARSE]
    pass_through(engine, x, y)
    top = np.sort(np.argsort(-np.abs(engine.gradients[SPARSE]))[: p.living // 2]).astype(np.int32)
    outside = np.setdiff1d(np.arange(p.living), top)
    before = [p.values.copy(), *(m.copy() for m in p.moments.values())]
    engine.set_gradient_mask(SPARSE, top)
    engine.step(0.1)
    for old, new in zip(before, [p.values, *p.moments.values()]):
        assert old[outside].tobytes() == new[outside].tobytes()
        assert (old[top] != new[top]).any()


@optimizers
def test_frozen_parameters_stay_bit_equal_counts_included(engine_factory, optimizer):
    graph = small_cnn()
    engine = engine_factory(graph, None, optimizer)
    x, y = data(graph, 8)
    train(engine, x, y)
    frozen = ["conv1.weight", "norm2.scale", "norm2.shift", "logits.bias"]
    engine.freeze(frozen)
    before = engine.state()
    train(engine, x, y)
    after = engine.state()
    for key in before:
        name, _, what = key.partition("/")
        if name in frozen:
            assert before[key].tobytes() == after[key].tobytes(), key
        elif what == "values":
            assert before[key].tobytes() != after[key].tobytes(), key
    engine.unfreeze(frozen)
    train(engine, x, y)
    assert all((engine.model[n].values != before[f"{n}/values"]).any() for n in frozen)


def test_a_gradient_mask_must_be_sorted_positions_of_living_weights(engine_factory):
    engine = engine_factory(small_cnn(), sparse_model(small_cnn()))
    living = engine.model[SPARSE].living
    for bad in ([3, 1], [1, 1], [-1], [living]):
        with pytest.raises(BadInput, match=SPARSE):
            engine.set_gradient_mask(SPARSE, np.array(bad, np.int32))


def test_an_empty_gradient_mask_stops_the_tensor(engine_factory):
    graph = small_cnn()
    engine = engine_factory(graph, sparse_model(graph), Optimizer(momentum=0.9, weight_decay=0.1))
    engine.set_gradient_mask(SPARSE, np.zeros(0, np.int32))
    before = engine.model[SPARSE].values.copy()
    train(engine, *data(graph, 8))
    assert engine.model[SPARSE].values.tobytes() == before.tobytes()


# ---- patterns


@optimizers
def test_after_a_new_pattern_survivors_keep_everything_and_newcomers_start_at_zero(engine_factory, optimizer):
    graph = small_cnn()
    engine = engine_factory(graph, sparse_model(graph, 0.5), optimizer)
    x, y = data(graph, 8)
    train(engine, x, y)
    p = engine.model[SPARSE]
    old = p.pattern
    dense = {
        "values": p.dense().ravel().copy(),
        **{k: p.dense(m).ravel().copy() for k, m in p.moments.items()},
    }
    new = random_pattern(p.spec.size, 0.4, np.random.default_rng(3))
    engine.set_pattern(SPARSE, new)
    survives = np.isin(new, old)
    assert 0 < survives.sum() < new.size
    for key, full in dense.items():
        now = engine.model[SPARSE].values if key == "values" else engine.model[SPARSE].moments[key]
        assert now[survives].tobytes() == full[new[survives]].tobytes()
        assert not now[~survives].any()
    train(engine, x, y)
    assert np.array_equal(engine.model[SPARSE].pattern, new)
    assert (engine.model[SPARSE].values[~survives] != 0).any()


def test_a_new_pattern_leaves_other_tensors_gradients(engine_factory):
    graph = small_cnn()
    engine = engine_factory(graph, sparse_model(graph))
    pass_through(engine, *data(graph, 8))
    other = engine.gradients["conv3.weight"].copy()
    engine.set_pattern(SPARSE, random_pattern(engine.model[SPARSE].spec.size, 0.6, np.random.default_rng(1)))
    assert engine.gradients["conv3.weight"].tobytes() == other.tobytes()
    assert engine.gradients[SPARSE].size == engine.model[SPARSE].living


def test_sparse_to_dense_and_back(engine_factory):
    graph = small_cnn()
    engine = engine_factory(graph, sparse_model(graph), Optimizer(momentum=0.9))
    x, y = data(graph, 8)
    train(engine, x, y)
    engine.set_pattern(SPARSE, None)
    train(engine, x, y)
    assert engine.model[SPARSE].density == 1.0
    engine.set_pattern(SPARSE, np.array([5], np.int32))
    train(engine, x, y)
    assert engine.model[SPARSE].living == 1
    engine.set_pattern(SPARSE, np.zeros(0, np.int32))
    train(engine, x, y)
    assert engine.model[SPARSE].living == 0


def test_a_pattern_must_be_sorted_distinct_indices(engine_factory):
    engine = engine_factory(small_cnn())
    before = engine.state()
    for bad in ([3, 1], [1, 1], [-1], [engine.model[SPARSE].spec.size]):
        with pytest.raises(BadInput, match=SPARSE):
            engine.set_pattern(SPARSE, np.array(bad, np.int32))
    assert same_state(before, engine.state())


# ---- batch-norm statistics


def statistics(engine):
    return {n: p.values.copy() for n, p in engine.model.parameters.items() if not p.spec.trained}


def test_batch_norm_statistics_are_committed_by_step_with_the_weights(engine_factory):
    graph = small_cnn()
    engine = engine_factory(graph)
    x, y = data(graph, 8)
    before = statistics(engine)
    pass_through(engine, x, y)
    assert same_state(before, statistics(engine))
    engine.step(0.1)
    after = statistics(engine)
    assert all((before[n] != after[n]).any() for n in before)


def test_discard_forgets_gradients_and_statistics(engine_factory):
    graph = small_cnn()
    a, b = engine_factory(graph), engine_factory(graph)
    x, y = data(graph, 8)
    other = data(graph, 8, seed=5)
    train(a, x, y, steps=2)
    train(b, x, y, steps=1)
    pass_through(b, *other)
    b.discard()
    assert not b.gradients.flat.any()
    train(b, x, y, steps=1)
    assert same_state(a.state(), b.state())


def test_statistics_of_several_forwards_add_up_before_one_step(engine_factory):
    graph = small_cnn()
    x, y = data(graph, 8)
    engine = engine_factory(graph)
    pass_through(engine, x[:4], y[:4])
    pass_through(engine, x[4:], y[4:])
    engine.step(0.0)
    both = statistics(engine)
    again = engine_factory(graph)
    for rows in (slice(0, 4), slice(4, 8)):
        pass_through(again, x[rows], y[rows])
        again.step(0.0)
    for name, values in statistics(again).items():
        assert relative(both[name], values) < 1e-6


def test_clearing_gradients_keeps_the_statistics_of_the_forward(engine_factory):
    graph = small_cnn()
    x, y = data(graph, 8)
    engine = engine_factory(graph)
    before = statistics(engine)
    pass_through(engine, x, y)
    engine.clear_gradients()
    engine.step(0.0)
    assert all((before[n] != v).any() for n, v in statistics(engine).items())


# ---- prediction, snapshots


def test_predict_changes_no_state_and_equals_an_evaluation_forward(engine_factory):
    graph = residual()
    engine = engine_factory(graph, None, Optimizer(momentum=0.9), predict_batch=8)
    x, y = data(graph, 16)
    train(engine, x, y)
    pass_through(engine, x, y)
    before, gradients = engine.state(), engine.gradients.copy()
    predict = engine.predictor(3)
    logits = predict(x)["logits"]
    assert logits.shape == (16, 3) and logits.dtype == np.float32
    assert same_state(before, engine.state())
    assert gradients.tobytes() == engine.gradients.flat.tobytes()
    assert relative(logits, engine.forward({"input": x}, training=False)["logits"]) < 1e-5
    assert predict(x[:0])["logits"].shape == (0, 3)


def test_a_prediction_between_two_steps_leaves_training_bit_equal(engine_factory):
    graph = small_cnn(dropout=0.3)
    x, y = data(graph, 8)
    a, b = engine_factory(graph), engine_factory(graph)
    predict = b.predictor(4)
    for _ in range(3):
        pass_through(a, x, y), a.step(0.1)
        pass_through(b, x, y)
        predict(x)
        b.step(0.1)
        predict(x)
    assert same_state(a.state(), b.state())


def test_a_predictor_follows_the_weights_and_patterns(engine_factory):
    graph = small_cnn()
    engine = engine_factory(graph, sparse_model(graph))
    x, y = data(graph, 8)
    predict = engine.predictor(8)
    first = predict(x)["logits"]
    train(engine, x, y)
    second = predict(x)["logits"]
    engine.set_pattern(SPARSE, np.zeros(0, np.int32))
    third = predict(x)["logits"]
    assert (first != second).any() and (second != third).any()
    assert relative(third, engine.forward({"input": x}, training=False)["logits"]) < 1e-5


def test_predictions_from_other_threads_while_learning(engine_factory):
    graph = small_cnn()
    x, y = data(graph, 8)
    alone, watched = engine_factory(graph), engine_factory(graph)
    train(alone, x, y, steps=10)
    predict = watched.predictor(8)
    stop, failures, calls = threading.Event(), [], []

    def watch():
        while not stop.is_set():
            try:
                calls.append(np.isfinite(predict(x)["logits"]).all())
            except Exception as error:
                failures.append(error)
                return

    threads = [threading.Thread(target=watch) for _ in range(2)]
    for t in threads:
        t.start()
    train(watched, x, y, steps=10)
    stop.set()
    for t in threads:
        t.join()
    assert not failures and all(calls)
    assert same_state(alone.state(), watched.state())


def test_a_forward_with_a_snapshot_uses_its_values_and_changes_nothing(engine_factory):
    graph = small_cnn()
    engine = engine_factory(graph, sparse_model(graph))
    x, y = data(graph, 8)
    teacher = engine.snapshot()
    kept = {n: v.copy() for n, v in teacher.items()}
    then = engine.forward({"input": x}, training=False)["logits"]
    train(engine, x, y)
    before = engine.state()
    again = engine.forward({"input": x}, training=False, params=teacher)["logits"]
    assert again.tobytes() == then.tobytes()
    assert same_state(before, engine.state()) and same_state(teacher, kept)
    assert (engine.forward({"input": x}, training=False)["logits"] != then).any()


def test_a_snapshot_of_another_pattern_is_refused(engine_factory):
    graph = small_cnn()
    engine = engine_factory(graph, sparse_model(graph))
    teacher = engine.snapshot()
    engine.set_pattern(SPARSE, np.array([0], np.int32))
    before = engine.state()
    with pytest.raises(BadInput, match=SPARSE):
        engine.forward({"input": data(graph, 2)[0]}, training=False, params=teacher)
    assert same_state(before, engine.state())


# ---- state


@optimizers
def test_state_and_load_continue_bit_for_bit(engine_factory, optimizer):
    graph = small_cnn()
    x, y = data(graph, 8)
    a = engine_factory(graph, sparse_model(graph), optimizer)
    train(a, x, y)
    a.set_gradient_mask(SPARSE, np.arange(0, a.model[SPARSE].living, 2, dtype=np.int32))
    a.freeze(["norm1.scale"])
    train(a, x, y)
    state = a.state()
    b = engine_factory(graph, None, optimizer)
    train(b, *data(graph, 8, seed=9))
    b.load(state)
    assert same_state(b.state(), state)
    train(a, x, y), train(b, x, y)
    assert same_state(a.state(), b.state())


def test_states_pass_between_engines(engine_factory):
    """Canonical form: what one engine saves any other loads."""
    graph = small_cnn()
    x, y = data(graph, 8)
    engine = engine_factory(graph, sparse_model(graph), Optimizer(momentum=0.9))
    train(engine, x, y)
    for kind in ENGINES:
        other = make_engine(kind, graph, None, Optimizer(momentum=0.9))
        other.load(engine.state())
        assert same_state(other.state(), engine.state())
        assert relative(other.predictor(8)(x)["logits"], engine.predictor(8)(x)["logits"]) < 1e-5


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(engine_factory):
    graph = small_cnn()
    engine = engine_factory(graph, sparse_model(graph), Optimizer(momentum=0.9))
    good = engine.state()

    def broken(key, value):
        bad = dict(good)
        if value is None:
            del bad[key]
        else:
            bad[key] = value
        return bad

    values = good[f"{SPARSE}/values"]
    cases = [
        ("conv1.weight/values", None),
        (f"{SPARSE}/values", values[:-1]),
        (f"{SPARSE}/values", values.astype(np.float64)),
        (f"{SPARSE}/pattern", good[f"{SPARSE}/pattern"][::-1].copy()),
        (f"{SPARSE}/pattern", None),
        (f"{SPARSE}/moment/momentum", values[:-1]),
        (f"{SPARSE}/gradient_subset", np.array([values.size], np.int32)),
        (f"{SPARSE}/step_count", np.array([-1])),
        (f"{SPARSE}/frozen", np.array([2], np.uint8)),
        ("other.weight/values", values),
    ]
    for key, value in cases:
        with pytest.raises(BadInput, match=key.partition("/")[0]):
            engine.load(broken(key, value))
        assert same_state(engine.state(), good), key


def test_reset_draws_fresh_values_on_the_present_pattern(engine_factory):
    graph = small_cnn()
    model = sparse_model(graph)
    engine = engine_factory(graph, model, Optimizer(momentum=0.9))
    x, y = data(graph, 8)
    train(engine, x, y)
    pattern, before = model[SPARSE].pattern.copy(), engine.state()
    engine.reset([SPARSE, "norm1.scale"], np.random.default_rng(3))
    assert np.array_equal(model[SPARSE].pattern, pattern)
    assert (model[SPARSE].values != before[f"{SPARSE}/values"]).any()
    assert not model[SPARSE].moments["momentum"].any()
    assert (model["norm1.scale"].values == 1).all()
    after = engine.state()
    assert after["conv1.weight/values"].tobytes() == before["conv1.weight/values"].tobytes()
    train(engine, x, y)


# ---- replan


def test_replan_keeps_parameters_and_optimizer_state(engine_factory):
    graph = small_cnn()
    optimizer = Optimizer(momentum=0.9)
    x, y = data(graph, 8)
    a = engine_factory(graph, sparse_model(graph), optimizer, batch=8)
    b = engine_factory(graph, sparse_model(graph), optimizer, batch=8)
    train(a, x, y), train(b, x, y)
    b.replan(engine_factory.plan(graph, optimizer, batch=8, predict_batch=4))
    assert same_state(a.state(), b.state())
    train(a, x, y), train(b, x, y)
    assert same_state(a.state(), b.state())
    b.replan(engine_factory.plan(graph, optimizer, batch=20))
    assert b.forward({"input": data(graph, 20)[0]})["logits"].shape == (20, 4)


def test_a_wider_head_keeps_the_old_rows(engine_factory):
    from edgecl.graph.builders import build

    graph = build("mlp", (2, 3, 3), 3, hidden=(10, 7))
    wide = build("mlp", (2, 3, 3), 6, hidden=(10, 7))
    optimizer = Optimizer(momentum=0.9)
    engine = engine_factory(graph, None, optimizer, rng=np.random.default_rng(4))
    x, y = data(graph, 8)
    train(engine, x, y)
    logits = engine.predictor(8)(x)["logits"]
    before = engine.state()
    engine.replan(engine_factory.plan(wide, optimizer))
    assert relative(engine.predictor(8)(x)["logits"][:, :3], logits) < 1e-6
    p = engine.model["logits.weight"]
    assert p.living == 6 * 7 and (p.values[21:] != 0).all()
    assert p.values[:21].tobytes() == before["logits.weight/values"].tobytes()
    assert p.moments["momentum"][:21].tobytes() == before["logits.weight/moment/momentum"].tobytes()
    assert not p.moments["momentum"][21:].any()
    train(engine, *data(wide, 8))
    assert (engine.model["logits.bias"].moments["momentum"][3:] != 0).any()


# ---- dropout


def test_dropout_draws_from_the_engines_generator_in_graph_order(engine_factory):
    graph = small_mlp(dropout=0.4)
    x, _ = data(graph, 5)
    rng = np.random.default_rng(11)
    engine = engine_factory(graph, rng=rng, fetch=("drop1", "relu1", "drop2", "relu2"))
    outs = engine.forward({"input": x}, fetch=("drop1", "relu1", "drop2", "relu2"))
    twin = np.random.default_rng(11)
    for i in (1, 2):
        keep = twin.random(outs[f"drop{i}"].shape, dtype=np.float32) >= 0.4
        assert relative(outs[f"drop{i}"], outs[f"relu{i}"] * keep / 0.6) < 1e-6
    assert rng.bit_generator.state == twin.bit_generator.state
    engine.forward({"input": x}, training=False)
    engine.predictor(4)(x)
    assert rng.bit_generator.state == twin.bit_generator.state


# ---- meters


def test_the_meter_equals_the_hand_count(engine_factory):
    graph = small_cnn()
    engine = engine_factory(graph, sparse_model(graph))
    living = {c.name: engine.model[c.name].living for c in weight_costs(graph)}
    positions = {"conv1.weight": 64, "conv2.weight": 16, "conv3.weight": 4, "logits.weight": 1}
    x, y = data(graph, 5)
    forward = 2 * 5 * sum(living[n] * positions[n] for n in living)
    pass_through(engine, x, y)
    assert engine.meters.forward_flops == forward
    no_input_gradient = 2 * 5 * living["conv1.weight"] * 64
    assert engine.meters.backward_flops == 2 * forward - no_input_gradient
    engine.step(0.1)

    engine.set_gradient_mask(SPARSE, np.arange(7, dtype=np.int32))
    engine.freeze(["conv3.weight"])
    at = engine.meters.backward_flops
    pass_through(engine, x, y)
    saved = 2 * 5 * ((living[SPARSE] - 7) * 16 + living["conv3.weight"] * 4)
    assert engine.meters.backward_flops - at == 2 * forward - no_input_gradient - saved
    assert engine.meters.to_json()["steps"] == 1
    assert (engine.meters.forwards, engine.meters.backwards) == (2, 2)


# ---- bad input


def test_bad_feeds_are_refused(engine_factory):
    graph = small_cnn()
    engine = engine_factory(graph, batch=8)
    x, _ = data(graph, 8)
    for bad in (x[:0], x[:, :, :7], x[0], x.astype(np.float64), np.concatenate([x, x])):
        with pytest.raises(BadInput):
            engine.forward({"input": bad})
    with pytest.raises(BadInput):
        engine.forward({"image": x})
    with pytest.raises(BadInput):
        engine.forward({"input": x}, fetch=("nothing",))
    with pytest.raises(BadInput):
        engine.predictor(1000)
    logits = engine.forward({"input": x})["logits"]
    with pytest.raises(BadInput):
        engine.backward({"logits": logits[:3]})


def test_unknown_parameters_are_answered_with_the_known_ones(engine_factory):
    engine = engine_factory(small_cnn())
    for call in (
        lambda: engine.set_pattern("conv9.weight", None),
        lambda: engine.set_gradient_mask("conv9.weight", None),
        lambda: engine.freeze(["conv9.weight"]),
        lambda: engine.unfreeze(["conv9.weight"]),
        lambda: engine.reset(["conv9.weight"], np.random.default_rng(0)),
        lambda: engine.visit_dense_gradients(["conv9.weight"], print),
    ):
        with pytest.raises(BadInput, match=r"conv9\.weight"):
            call()


def test_the_same_seed_gives_the_same_bits(engine_factory):
    graph = small_cnn(dropout=0.2)
    x, y = data(graph, 11)
    states = []
    for _ in range(2):
        engine = engine_factory(graph, sparse_model(graph), Optimizer("adam"), rng=np.random.default_rng(2))
        train(engine, x, y, steps=4, lr=0.01)
        states.append(engine.state())
    assert same_state(*states)
