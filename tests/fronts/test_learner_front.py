"""A Learner with a front: what is behind it never sees a raw sample; saved, opened, refused when it changed."""

import threading

import numpy as np
import pytest
from learner_bits import bits, same
from raw import SMALL, WINDOW, raw_signals, sounds

import edgecl
from edgecl import checkpoint
from edgecl.errors import BadInput
from edgecl.fronts import FRONTS, LogMel, Window
from edgecl.plugins import PluginError

RAW = {"input_shape": (3, 1, 80), "dtype": "float32", "classes": 6}


def taught(learner, front=None, tasks=2):
    """Two classes a task, three epochs each; ``front``: given to samples beforehand."""
    for task in range(tasks):
        for unit in (2 * task, 2 * task + 1):
            x = raw_signals(unit, 20)
            learner.observe(x if front is None else front(x), unit, task=task, subject=unit)
        learner.learn(epochs=3)
    return learner


@pytest.mark.parametrize("stored", [False, True], ids=["in RAM", "with a store"])
def test_a_learner_behind_a_front_is_the_one_that_was_given_its_results(stored, tmp_path):
    front = Window(rate=100.0, length=32).placed((3, 1, 80), "float32")
    store = {"store": str(tmp_path / "a")} if stored else {}
    with taught(edgecl.Learner(**RAW, **SMALL, **WINDOW, **store)) as ours:
        store = {"store": str(tmp_path / "b")} if stored else {}
        behind = {**RAW, "input_shape": front.shape}
        with taught(edgecl.Learner(**behind, **SMALL, **store), front) as theirs:
            same(bits(ours), bits(theirs))
            x = raw_signals(1, 40, 9)
            np.testing.assert_array_equal(ours.predict(x, proba=True), theirs.predict(front(x), proba=True))
            assert ours.predict(x[0]) == theirs.predict(front(x[:1])[0])
            assert (ours.spec.shape, theirs.spec.shape) == ((3, 1, 80), (3, 1, 32))
            if stored:
                got = ours.life.store.read(np.arange(5), fields=())["samples"]
                np.testing.assert_array_equal(got, front(raw_signals(0, 5)))


def test_name_object_and_class_are_one_way_and_go_into_the_configuration():
    with edgecl.Learner(**RAW, **SMALL, front=Window(rate=100.0, length=32)) as one:
        config = one.core.parts.config
        assert (config.front, config.of("front")) == ("window", {"rate": 100.0, "length": 32})
    with edgecl.Learner(**{**RAW, "input_shape": (3, 1, 130)}, **SMALL, front=Window) as two:
        assert two.core.spec.shape == (3, 1, 128)
    with pytest.raises(BadInput, match="given twice"):
        edgecl.Learner(**RAW, **SMALL, front=Window(rate=100.0), window_rate=50)
    with pytest.raises(BadInput, match=r"front 'window' has no option 'logmel_bands'|Front 'window' has no option"):
        edgecl.Learner(**RAW, **SMALL, **WINDOW, logmel_bands=20)
    with pytest.raises(BadInput, match="Unknown front 'windows'"):
        edgecl.Learner(**RAW, **SMALL, front="windows")
    with pytest.raises(BadInput, match="No front is used that has an option 'window_rate'"):
        edgecl.Learner(**RAW, **SMALL, window_rate=100)


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_sound_is_learned_from_raw_samples(dtype, tmp_path):
    def raw(unit, count, seed=0):
        x = sounds(unit, count, seed)
        return x if dtype == "float32" else np.round(x * 32767).astype(np.int16)

    options = {**SMALL, "batch": 8, "lr": 0.05}
    with edgecl.Learner(front="logmel", input_shape=(1, 1, 8000), dtype=dtype, classes=3, **options) as learner:
        for unit in range(3):
            learner.observe(raw(unit, 16), f"tone {unit}")
        learner.learn(epochs=12)
        heard = [learner.predict(raw(unit, 8, 5)) for unit in range(3)]
        assert np.mean([[h == f"tone {u}" for h in row] for u, row in enumerate(heard)]) > 0.9
        assert learner.core.spec.shape == (10, 1, 24) and learner.core.parts.memory.samples.shape[1:] == (10, 1, 24)


def test_raw_samples_of_another_form_are_refused_and_nothing_is_taken():
    with edgecl.Learner(**{**RAW, "dtype": "int16"}, **SMALL, **WINDOW) as learner:
        for wrong in (np.zeros((2, 3, 1, 32)), np.full((2, 3, 1, 80), 40000), np.full((3, 1, 80), 0.5)):
            with pytest.raises(BadInput):
                learner.observe(wrong, 0)
        assert learner.counters["buffered"] == 0 == learner.counters["front_flops"]
        learner.observe(np.full((2, 3, 1, 80), -32768), 0)


# -- planned and metered


def test_bytes_and_flops_of_the_front_are_in_the_plan():
    front = Window(rate=100.0, length=32).placed((3, 1, 80), "float32")
    with edgecl.Learner(**RAW, **SMALL, **WINDOW) as learner:
        plan = learner.plan
        with edgecl.Learner(**{**RAW, "input_shape": (3, 1, 32)}, **SMALL) as plain:
            assert plan.growth["front"] == front.bytes + 32 * 4 * (3 * 80 + 3 * 32)
            assert plan.growth_bytes - plain.plan.growth_bytes == plan.growth["front"]
            assert plan.step_flops - plain.plan.step_flops == 8 * front.flops > 0
            assert plan.front_flops == front.flops and plain.plan.front_flops == 0
            assert "front" not in plain.plan.growth


def test_flops_of_the_front_are_counted_apart_for_what_is_taken_and_not_for_predictions():
    front = Window(rate=100.0, length=32).placed((3, 1, 80), "float32")
    behind = {**RAW, "input_shape": (3, 1, 32)}
    with (
        taught(edgecl.Learner(**RAW, **SMALL, **WINDOW)) as ours,
        taught(edgecl.Learner(**behind, **SMALL), front) as theirs,
    ):
        ours.predict(raw_signals(0, 50))
        assert ours.counters["front_flops"] == 80 * front.flops
        assert ours.counters["flops"] == theirs.counters["flops"]
        assert ours.core.facts()["flops"]["full"] == theirs.core.facts()["flops"]["full"]


def test_a_budget_of_flops_holds_the_front_s_too():
    front = Window(rate=100.0, length=32).placed((3, 1, 80), "float32")
    with edgecl.Learner(**RAW, **SMALL, **WINDOW, budget=edgecl.Budget(flops=1e8)) as learner:
        learner.observe(raw_signals(0, 30), 0)
        step = learner.plan.step_flops
    limit = 30 * front.flops + 3 * step
    with edgecl.Learner(**RAW, **SMALL, **WINDOW, budget=edgecl.Budget(flops=limit)) as learner:
        learner.observe(raw_signals(0, 30), 0)
        learner.learn(epochs=50)
        assert learner.counters["steps"] > 1
        assert limit - 2 * step < learner.counters["flops"] + learner.counters["front_flops"] <= limit


def test_seconds_of_the_front_are_seconds_of_training():
    class Slow(Window):
        name = "slow"

        def __call__(self, x):
            done.wait(0.05)
            return super().__call__(x)

    done = threading.Event()
    front = Slow(rate=100.0, length=32)
    before = dict(FRONTS.loaded()), dict(FRONTS._origins)
    try:
        with edgecl.Learner(**RAW, **SMALL, front=front, budget=edgecl.Budget(seconds=0.5)) as learner:
            assert learner.counters["train_seconds"] == 0
            for _ in range(4):
                learner.observe(raw_signals(0, 4), 0)
            assert 0.2 <= learner.counters["train_seconds"] < 0.45
            now = learner.counters["train_seconds"]
            learner.life.core.see(np.zeros(1, int))
            learner.predict(raw_signals(0, 4))
            assert learner.counters["train_seconds"] == now
            learner.learn(steps=1)
            assert learner.counters["train_seconds"] > now
            for _ in range(8):
                learner.observe(raw_signals(0, 4), 0)
            log = learner.learn(epochs=5)
            assert log.steps == 0 and "seconds" in log.stopped
    finally:
        FRONTS._entries, FRONTS._origins = before


# -- saved


def test_a_saved_learner_goes_on_bit_for_bit_behind_its_front(tmp_path):
    path = tmp_path / "saved"
    with taught(edgecl.Learner(**RAW, **SMALL, **WINDOW, store=str(tmp_path / "s"), path=path)) as learner:
        learner.save()
        counters = learner.counters
        learner.learn(steps=5)
        whole = bits(learner)
    with edgecl.Learner.open(path) as again:
        assert {k: again.counters[k] for k in ("flops", "front_flops", "train_seconds", "steps")} == {
            k: counters[k] for k in ("flops", "front_flops", "train_seconds", "steps")
        }
        assert again.spec.shape == (3, 1, 80)
        again.learn(steps=5)
        same(whole, bits(again))
        again.observe(raw_signals(4, 3), 4)
    saved = checkpoint.load(path)["learner"]
    assert saved["config"]["front"] == "window" and saved["config"]["window_rate"] == 100.0
    assert saved["front"]["name"] == "window" and saved["front"]["options"]["length"] == 32


@pytest.mark.parametrize("change", ["version", "default"])
def test_a_front_that_changed_is_refused_when_a_learner_is_opened(change, tmp_path, monkeypatch):
    path = tmp_path / "saved"
    with taught(edgecl.Learner(**RAW, **SMALL, **WINDOW, path=path)) as learner:
        learner.save()
    if change == "version":
        monkeypatch.setattr(Window, "version", 2)
    else:
        monkeypatch.setattr(vars(Window)["normalise"], "default", "mean")
    with pytest.raises(BadInput, match=r"front 'window' of this saved state is not the one here.*digest"):
        edgecl.Learner.open(path)


@pytest.mark.parametrize(
    "now",
    [
        {"front": "window", "window_rate": 100.0, "window_length": 32, "window_cutoff": 10},
        {"front": "none", "shape": (3, 1, 32)},
    ],
)
def test_a_store_filled_through_another_front_is_refused_and_stays_as_it_is(now, tmp_path):
    store = str(tmp_path / "s")
    with edgecl.Learner(**RAW, **SMALL, **WINDOW, store=store) as learner:
        learner.observe(raw_signals(0, 4), 0)
    more = {**RAW, "input_shape": now.get("shape", (3, 1, 80))}
    options = {k: v for k, v in now.items() if k != "shape"}
    with pytest.raises(BadInput, match=r"filled through the front window\(.*another folder"):
        edgecl.Learner(**more, **SMALL, **options, store=store)
    with edgecl.Learner(**RAW, **SMALL, **WINDOW, store=store) as learner:
        assert learner.counters["stored"] == 4


def test_a_store_without_a_front_is_refused_by_a_learner_with_one(tmp_path):
    store = str(tmp_path / "s")
    with edgecl.Learner(**{**RAW, "input_shape": (3, 1, 32)}, **SMALL, store=store) as learner:
        learner.observe(np.zeros((2, 3, 1, 32), np.float32), 0)
    with pytest.raises(BadInput, match="filled through no front"):
        edgecl.Learner(**RAW, **SMALL, **WINDOW, store=store)


def test_a_subject_is_forgotten_and_trained_without_behind_a_front(tmp_path):
    def life(name, left_out=None):
        folder = tmp_path / name
        options = {**RAW, **SMALL, **WINDOW, "store": str(folder / "s"), "path": folder / "p"}
        learner = edgecl.Learner(**options)
        for unit in range(4):
            if unit != left_out:
                learner.observe(raw_signals(unit, 12), unit, subject=unit)
        learner.learn(epochs=3)
        return learner

    with life("all") as learner, life("without", left_out=3) as other:
        counted = learner.counters["front_flops"]
        learner.retrain_without(3)
        same(bits(learner), bits(other))
        assert learner.counters["front_flops"] == counted == 48 / 36 * other.counters["front_flops"]
        learner.observe(raw_signals(0, 4), 0)
        assert learner.counters["front_flops"] > counted


# -- threads, faults


def test_samples_come_and_are_predicted_from_other_threads_while_one_trains():
    with taught(edgecl.Learner(**RAW, **SMALL, **WINDOW)) as learner:
        x, failed = raw_signals(0, 8), []

        def call(work):
            try:
                for _ in range(20):
                    work()
            except Exception as error:
                failed.append(error)

        others = [threading.Thread(target=call, args=(w,)) for w in (
            lambda: learner.predict(x), lambda: learner.observe(x, 0), lambda: learner.predict(x[0]))]  # fmt: skip
        before = learner.counters["front_flops"]
        for thread in others:
            thread.start()
        learner.learn(steps=30)
        for thread in others:
            thread.join()
        assert not failed
        assert learner.counters["front_flops"] - before == 160 * learner.plan.front_flops


def test_a_front_of_others_that_fails_is_named_and_takes_no_sample():
    before = dict(FRONTS.loaded()), dict(FRONTS._origins)

    class Faulty(LogMel):
        name, contract = "faulty", 1

        def __call__(self, x):
            if x.any():
                raise KeyError("no table")
            return super().__call__(x)

    try:
        with edgecl.Learner(front=Faulty, input_shape=(1, 1, 8000), dtype="float32", **SMALL) as learner:
            with pytest.raises(PluginError, match=r"front 'faulty' of module .* failed in __call__: KeyError"):
                learner.observe(sounds(0, 3), 0)
            assert learner.counters["buffered"] == 0
    finally:
        FRONTS._entries, FRONTS._origins = before
