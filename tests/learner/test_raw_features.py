"""A learner on raw features: the scale of its input, a loss that explodes, words that help."""

import numpy as np
import pytest

from edgecl import Learner
from edgecl.errors import BadInput
from edgecl.learning.explosion import Explosion

OPTIONS = dict(input_shape=(3, 1, 1), dtype="float32", classes=4, batch=8, memory=40, lr=0.05)


def rows(classes, n=120, seed=0):
    """Features in three units that are orders of magnitude apart; the classes differ by half a deviation and more."""
    rng = np.random.default_rng(seed)
    y = rng.choice(classes, n)
    centres = np.array([[0, 0, 0], [3, 0, 2], [0, 3, 4], [3, 3, -2]])[y]
    z = rng.normal(centres, 0.5)
    x = np.array([101325.0, 0.004, -40.0]) + z * np.array([2000.0, 0.001, 7.0])
    return x.astype(np.float32)[:, :, None, None], y.tolist()


def scale_of(learner):
    return learner.spec.mean, learner.spec.std


def right(learner, seed=1):
    x, y = rows([0, 1, 2, 3], seed=seed)
    return float(np.mean([a == b for a, b in zip(learner.predict(x), y)]))


def test_raw_features_are_learned_without_a_word_about_their_scale():
    with Learner("mlp", **OPTIONS) as learner:
        x, y = rows([0, 1, 2, 3])
        learner.observe(x, y)
        log = learner.learn(epochs=15)
        assert right(learner) > 0.9
    mean, std = (np.array(values) for values in scale_of(learner))
    assert np.allclose(mean, x.mean((0, 2, 3)), rtol=0.02, atol=1e-4) and np.allclose(std, x.std((0, 2, 3)), rtol=0.1)
    assert "first samples" in log.warnings[0] and "mean= and std=" in log.warnings[0]


def test_a_few_mad_values_move_the_scale_little():
    x, y = rows([0, 1, 2, 3])
    with Learner("mlp", **OPTIONS) as learner:
        x[5] *= 1000
        learner.observe(x, y)
        log = learner.learn(steps=1)
    assert scale_of(learner)[1][0] < 4 * np.delete(x, 5, 0)[:, 0].std()
    assert any("1 of 120 samples hold values more than 20 deviations" in w for w in log.warnings)


def test_the_scale_is_chosen_once_and_travels_with_the_state(tmp_path):
    with Learner("mlp", path=tmp_path / "p", **OPTIONS) as learner:
        learner.observe(*rows([0, 1]))
        learner.learn(epochs=5)
        chosen = scale_of(learner)
        learner.save()
        x, y = rows([2, 3], seed=3)
        learner.observe(x * 2, y)
        log = learner.learn(epochs=2)
        assert scale_of(learner) == chosen and not any("first samples" in w for w in log.warnings)
        bits = learner.predict(rows([0, 1])[0], proba=True)
    with Learner.open(tmp_path / "p") as again:
        assert scale_of(again) == chosen
        again.observe(x * 2, y)
        again.learn(epochs=2)
        assert np.array_equal(again.predict(rows([0, 1])[0], proba=True), bits)


def test_samples_in_small_pieces_and_in_one_give_one_scale():
    scales = []
    for pieces in (1, 40):
        with Learner("mlp", **OPTIONS) as learner:
            x, y = rows([0, 1, 2, 3])
            for part in np.array_split(np.arange(len(x)), pieces):
                learner.observe(x[part], [y[i] for i in part])
            learner.learn(steps=1)
            scales.append(scale_of(learner))
    assert scales[0] == scales[1]


@pytest.mark.parametrize("given", [{"mean": (1.0, 2.0, 3.0)}, {"std": (1.0, 2.0, 3.0)}])
def test_a_scale_that_is_given_is_kept(given):
    with Learner("mlp", **OPTIONS, **given) as learner:
        before = scale_of(learner)
        learner.observe(*rows([0, 1]))
        log = learner.learn(steps=1)
        assert scale_of(learner) == before and not any("first samples" in w for w in log.warnings)


def test_training_anew_without_a_subject_takes_the_scale_of_the_others(tmp_path):
    x, y = rows([0, 1, 2, 3])

    def life(where, keep):
        learner = Learner("mlp", store=tmp_path / f"{where}s", path=tmp_path / f"{where}p", **OPTIONS)
        for subject in (1, 2) if keep else (1,):
            mine = slice(0, 60) if subject == 1 else slice(60, 120)
            learner.observe(x[mine] * subject, y[mine], subject=subject).wait()
        learner.learn(epochs=2)
        learner.save()
        return learner

    with life("a", True) as both, life("b", False) as one:
        assert scale_of(both) != scale_of(one)
        both.retrain_without(2)
        assert scale_of(both) == scale_of(one)
        assert np.array_equal(both.predict(x, proba=True), one.predict(x, proba=True))


@pytest.mark.parametrize(
    "options",
    [{"mean": (0.0,) * 3, "std": (1.0,) * 3, "lr": 1e-3}, {"mean": (1e5,) * 3, "std": (10.0,) * 3}, {"lr": 6.0}],
)
def test_a_loss_that_explodes_ends_the_call_and_gives_the_weights_back(options):
    x, y = rows([0, 1, 2, 3])
    with Learner("mlp", **{**OPTIONS, **options}) as learner:
        learner.observe(x, y)
        before = {n: p.values.copy() for n, p in learner.core.parts.engine.model.parameters.items()}
        log = learner.learn(epochs=20)
        after = {n: p.values for n, p in learner.core.parts.engine.model.parameters.items()}
    assert log.steps < 20 and "the loss exploded to" in log.stopped and "lower lr" in log.stopped
    assert "weights are as they were" in log.stopped and "exploded" in log.warnings[-1]
    assert all(np.array_equal(before[n], after[n]) for n in before)


def test_a_loss_that_begins_high_and_falls_is_no_explosion():
    watch = Explosion(10)
    assert not any(watch.after(loss) for loss in (1e6, 2e6, *np.geomspace(1e6, 0.1, 100)))
    watch = Explosion(10)
    assert not any(watch.after(loss) for loss in [50.0] * 30 + [3e3, 4e3] + [2.0] * 30)


def test_a_loss_that_stays_high_is_one_without_a_leap():
    watch = Explosion(10)
    assert [watch.after(loss) for loss in [50.0] * 30 + [3e3] * 6].index(True) == 34


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("learning_rate", "lr"), ("batch_size", "batch"), ("buffer_size", "memory"), ("random_state", "seed"),
     ("weightdecay", "weight_decay"), ("epsilon", None)],
)  # fmt: skip
def test_a_wrong_keyword_gets_the_right_hint(wrong, meant):
    with pytest.raises(BadInput) as error:
        Learner("mlp", input_shape=(1, 8, 8), **{wrong: 1})
    assert meant is None or f"Did you mean '{meant}'?" in error.value.remedy


def test_fewer_slots_than_classes_are_said():
    with Learner("mlp", **{**OPTIONS, "memory": 3}) as learner:
        learner.observe(*rows([0, 1, 2, 3]))
        assert any("3 slots for 4 classes" in w for w in learner.learn(steps=1).warnings)
    with Learner("mlp", **OPTIONS) as learner:
        learner.observe(*rows([0, 1, 2, 3]))
        assert not any("slots" in w for w in learner.learn(steps=1).warnings)
