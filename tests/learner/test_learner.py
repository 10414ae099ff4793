"""The library's front door: observe, learn, predict, save, open, from any thread."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from edgecl import BadInput, Budget, EdgeclError, InfeasibleBudget, Learner

SHAPE = (1, 12, 12)


def samples(classes, count=30, seed=0):
    """(x uint8 [n, 1, 12, 12], units [n]); classes share most of their picture."""
    patterns = np.random.default_rng(7).integers(60, 180, (1, 12, 12)) + np.random.default_rng(8).normal(
        0, 15, (64, 1, 12, 12)
    )
    rng = np.random.default_rng(seed)
    y = np.tile(list(classes), count)
    return np.clip(patterns[y] + rng.normal(0, 10, (y.size, *SHAPE)), 0, 255).astype(np.uint8), y


def learner(**options) -> Learner:
    given = {
        "input_shape": SHAPE,
        "mean": (120.0,),
        "std": (40.0,),
        "batch": 16,
        "memory": 40,
        "lr": 0.05,
        **options,
    }
    return Learner(given.pop("model", "mlp"), **given)


def accuracy(ours: Learner, classes, names) -> float:
    x, y = samples(classes, seed=99)
    return float(np.mean([p == names[k] for p, k in zip(ours.predict(x), y)]))


NAMES = {0: "cat", 1: 42, 2: "dog", 3: -7}


def teach(ours: Learner, classes, epochs=12) -> None:
    x, y = samples(classes)
    ours.observe(x, [NAMES[k] for k in y])
    ours.learn(epochs=epochs)


def test_it_gives_the_users_own_labels_and_remembers_the_first_task(tmp_path):
    with learner(method="er", store=str(tmp_path / "s")) as ours:
        teach(ours, (0, 1))
        assert ours.labels == ("cat", 42)
        ours.end_task()
        teach(ours, (2, 3))
        assert accuracy(ours, (0, 1, 2, 3), NAMES) > 0.85
        x, _ = samples((0,))
        assert ours.predict(x[0]) == "cat"
        assert type(ours.predict(samples((1,))[0][0])) is int


def test_task_free_learning_needs_no_end_task():
    with learner(method="er") as ours:
        for classes in ((0, 1), (2, 3)):
            teach(ours, classes)
        assert accuracy(ours, (0, 1, 2, 3), NAMES) > 0.85


def test_probabilities_are_over_the_labels_and_unseen_ones_are_zero():
    with learner(method="naive") as ours:
        teach(ours, (0, 1))
        x, _ = samples((2,))
        ours.observe(x, "dog")
        p = ours.predict(x, proba=True)
        assert p.shape == (len(x), 3) and np.allclose(p.sum(axis=1), 1) and not p[:, 2].any()


def test_a_full_head_doubles_and_keeps_what_was_learned():
    with learner(method="der++", classes=2) as ours:
        teach(ours, (0, 1))
        before = accuracy(ours, (0, 1), NAMES)
        ours.end_task()
        teach(ours, (2, 3))
        assert ours.parameters["logits.weight"][0] == 4
        assert before > 0.9 and accuracy(ours, (0, 1, 2, 3), NAMES) > 0.8


def test_widening_alone_changes_no_prediction():
    with learner(method="naive", classes=2) as ours:
        teach(ours, (0, 1))
        x, _ = samples((0, 1), seed=5)
        before = ours.predict(x, proba=True)
        ours.observe(*[a[:1] for a in samples((2,))][:1], "dog")
        ours.life.teaching.fit_head()
        assert ours.parameters["logits.weight"][0] == 4
        np.testing.assert_allclose(ours.predict(x, proba=True)[:, :2], before, atol=1e-6)


def test_predict_changes_no_state_and_observe_never_trains():
    with learner(method="er") as ours:
        teach(ours, (0, 1))
        before = ours.life.state()["trainer"]
        x, _ = samples((0, 1), seed=3)
        ours.predict(x)
        ours.observe(x, "cat")
        after = ours.life.state()["trainer"]
        for name, values in before["engine"].items():
            np.testing.assert_array_equal(values, after["engine"][name])
        assert before["random"] == after["random"]


@pytest.mark.parametrize("store", [False, True], ids=["RAM", "store"])
def test_saved_and_opened_it_goes_on_bit_for_bit(tmp_path, store):
    def made(name):
        extra = {"store": str(tmp_path / f"store-{name}"), "durability": "batched:20"} if store else {}
        return learner(method="der++", sparsity=0.5, path=tmp_path / name, **extra)

    results = []
    for name, pause in (("a", False), ("b", True)):
        ours = made(name)
        teach(ours, (0, 1), epochs=3)
        if pause:
            ours.save()
            ours.close()
            ours = Learner.open(tmp_path / name)
            assert ours.labels == ("cat", 42)
        ours.learn(epochs=2)
        results.append(ours.life.state())
        ours.close()
    for key, value in results[0]["trainer"]["engine"].items():
        np.testing.assert_array_equal(value, results[1]["trainer"]["engine"][key], err_msg=key)
    assert results[0]["trainer"]["random"] == results[1]["trainer"]["random"]


def test_labels_survive_a_crash_without_save(tmp_path):
    ours = learner(method="er", store=str(tmp_path))
    x, y = samples((0, 1))
    ours.observe(x, [NAMES[k] for k in y]).wait()
    ours.close()
    with learner(method="er", store=str(tmp_path)) as again:
        assert again.labels == ("cat", 42)


def test_stop_from_another_thread_and_predict_while_learning():
    with learner(method="er") as ours:
        teach(ours, (0, 1), epochs=1)
        logs = []
        worker = threading.Thread(target=lambda: logs.append(ours.learn(seconds=60)))
        worker.start()
        x, _ = samples((0, 1), seed=4)
        until = time.monotonic() + 0.4
        while time.monotonic() < until:
            assert len(ours.predict(x)) == len(x)
            ours.observe(x[:1], "cat")
        ours.stop()
        worker.join(20)
        assert not worker.is_alive() and logs[0].stopped == "stop() was called" and logs[0].steps > 0


def test_a_task_longer_than_the_buffer_comes_back_from_the_store(tmp_path):
    with learner(method="naive", buffer=10, store=str(tmp_path)) as ours:
        teach(ours, (0, 1))
        assert len(ours.life.intake.buffer.samples) == 10 and len(ours.life.intake.buffer) == 60
        assert accuracy(ours, (0, 1), NAMES) > 0.9


def test_what_comes_back_from_the_store_trains_the_same_bits(tmp_path):
    states = []
    for name, buffer in (("all in RAM", 1000), ("hardly any", 3)):
        with learner(method="der++", remove=0.3, buffer=buffer, store=str(tmp_path / name)) as ours:
            teach(ours, (0, 1), epochs=10)
            ours.learn(steps=3)  # leaves batches that were named and never asked for
            ours.learn(epochs=1)
            ours.end_task()
            teach(ours, (2, 3), epochs=2)
            states.append(ours.life.state())
    same = [s["trainer"] for s in states]
    for key, value in same[0]["engine"].items():
        np.testing.assert_array_equal(value, same[1]["engine"][key], err_msg=key)
    np.testing.assert_array_equal(same[0]["memory"]["ids"], same[1]["memory"]["ids"])
    assert same[0]["random"] == same[1]["random"]


def test_only_the_first_batch_of_an_epoch_is_waited_for(tmp_path):
    with learner(method="naive", buffer=3, store=str(tmp_path)) as ours:
        x, y = samples((0, 1))  # 60 samples: 4 batches of 16
        ours.observe(x, y)
        store, waited = ours.core.parts.store, []
        read = store.read
        store.read = lambda *args, **more: waited.append(args) or read(*args, **more)
        ours.learn(epochs=5)
        assert len(waited) == 5


def test_a_damaged_sample_of_the_present_task_is_refused_by_its_id(tmp_path):
    with learner(method="naive", buffer=3, store=str(tmp_path)) as ours:
        x, y = samples((0, 1))
        ours.observe(x, y).wait()
        file = next((tmp_path / "segments").glob("*.seg"))
        raw = bytearray(file.read_bytes())
        raw[raw.index(x[20].tobytes())] ^= 1
        file.write_bytes(raw)
        with pytest.raises(BadInput, match=r"\[20\]"):
            ours.learn(epochs=2)


def test_without_a_store_a_full_buffer_refuses_until_it_has_learned():
    with learner(method="naive", buffer=60) as ours:
        x, y = samples((0, 1))
        ours.observe(x, y)
        with pytest.raises(BadInput, match="learn"):
            ours.observe(x[:1], 0)
        ours.learn()
        ours.observe(x[:5], y[:5])
        assert len(ours.life.intake.buffer) == 60


def test_steps_epochs_and_seconds_are_kept_to():
    with learner(method="naive") as ours:
        x, y = samples((0, 1))
        ours.observe(x, y)
        assert ours.learn(steps=7).steps == 7
        log = ours.learn(epochs=3)
        assert (log.steps, log.epochs) == (12, 3)
        log = ours.learn(seconds=0.2)
        assert 0.1 < log.seconds < 2 and log.stopped is None


@pytest.mark.parametrize("bad", [{"steps": 0}, {"epochs": -1}, {"steps": 1, "epochs": 1}, {"seconds": float("nan")}])
def test_nonsense_amounts_of_learning_are_refused(bad):
    with learner(method="naive") as ours:
        ours.observe(*samples((0, 1)))
        with pytest.raises(BadInput):
            ours.learn(**bad)


def test_a_learner_saved_without_a_store_takes_none_when_it_is_opened(tmp_path):
    """Head units of another learner's labels mean other labels here."""
    with learner(store=str(tmp_path / "theirs")) as other:
        teach(other, (1, 0))
    with learner(path=tmp_path / "saved") as ours:
        teach(ours, (0, 1))
        ours.save()
    with pytest.raises(BadInput, match="without a store"):
        Learner.open(tmp_path / "saved", store=tmp_path / "theirs")


@pytest.mark.parametrize(
    "asked",
    [
        lambda ours, x: ours.observe(x, "a", subject=1.5),  # would be subject 1's, and never be forgotten
        lambda ours, x: ours.observe(x, "a", subject=True),
        lambda ours, x: ours.observe(x, "a", subject="1"),
        lambda ours, x: ours.forget(1.0),
        lambda ours, x: ours.retrain_without(True),
        lambda ours, x: ours.learn(steps=2.5),
        lambda ours, x: ours.learn(epochs="3"),
        lambda ours, x: ours.learn(steps=True),
        lambda ours, x: ours.learn(epochs=10**30),
        lambda ours, x: ours.observe(x, np.array(1.5)),
        lambda ours, x: ours.predict([[1], [1, 2]]),
        lambda ours, x: learner(dtype="float32").observe(np.full(SHAPE, 1e300), "a"),
        lambda ours, x: learner(input_shape=12),
        lambda ours, x: learner(input_shape=(1, 12.5, 12)),
        lambda ours, x: learner(mean="a"),
        lambda ours, x: learner(classes=2.5),
        lambda ours, x: learner(buffer=2.5),
        lambda ours, x: learner(keep_checkpoints=-1),
        lambda ours, x: learner(budget={"ram": "64MB"}),
        lambda ours, x: learner(store="never made", root_key=b"key"),
        lambda ours, x: Budget(flops=10**400),
    ],
)
def test_what_an_argument_cannot_mean_is_refused(asked):
    x, _ = samples((0, 1))
    with learner() as ours:
        teach(ours, (0, 1), epochs=1)
        with pytest.raises(BadInput):
            asked(ours, x)
        ours.learn(steps=1)  # it goes on


def test_numpys_and_paths_own_values_mean_what_plain_ones_mean(tmp_path):
    given = {
        "input_shape": np.array(SHAPE),
        "dtype": np.dtype("float32"),
        "mean": 120.0,
        "std": np.array([40.0]),
        "classes": np.int64(4),
    }
    x, _ = samples((0, 1))
    with learner(**given, store=tmp_path / "s", path=tmp_path / "saved") as ours:
        ours.observe(x[:0], [])
        ours.observe(x, np.array(3), subject=np.int64(4))
        assert ours.learn(steps=np.int32(3)).steps == 3
        ours.save()
        shares = ours.predict(x, proba=True)
    with Learner.open(tmp_path / "saved") as again:
        assert again.labels == (3,) and again.spec == learner(input_shape=SHAPE, dtype="float32").spec
        np.testing.assert_array_equal(again.predict(x, proba=True), shares)
        assert len(again.forget(4).ids) == len(x)


def test_a_task_keeps_its_name_in_the_saved_state(tmp_path):
    x, y = samples((0, 1))
    with learner(path=tmp_path / "saved") as ours:
        ours.observe(x, y, task=np.array([1, 2]))
        ours.save()
    with Learner.open(tmp_path / "saved") as ours:
        ours.observe(x, y, task=np.array([1, 2]))
        assert ours.counters["buffered"] == 2 * len(x)  # the same task
        with pytest.raises(BadInput):
            ours.observe(x, [1.5] * len(x), task="next")
        assert ours.counters["buffered"] == 2 * len(x)  # nothing was taken, no task ended
        ours.observe(x, y, task="next")
        assert ours.counters["buffered"] == 3 * len(x)  # those of the task before wait to be learned
        ours.learn()
        ours.end_task()
        assert ours.counters["buffered"] == 0 and ours.life.tasks.number == 2


def test_labels_have_no_end_for_methods_that_keep_logits():
    x = np.random.default_rng(0).integers(0, 255, (1100, *SHAPE)).astype(np.uint8)
    with learner(method="der++", classes=2, buffer=1100) as ours:
        ours.observe(x, list(range(1100)))
        assert ours.learn(epochs=2).stopped is None and len(ours.labels) == 1100
        assert ours.parameters["logits.weight"][0] < 1.2 * 1100
        assert ours.core.parts.memory.fields["logits"].shape[1] == 1024


def test_a_budget_stops_learning_in_order(tmp_path):
    with learner(method="naive", budget=Budget(flops=3e7), path=tmp_path) as ours:
        ours.observe(*samples((0, 1)))
        log = ours.learn(seconds=60)
        assert "FLOPs" in (log.stopped or "") and ours.counters["flops"] <= 3e7
    with Learner.open(tmp_path) as again:
        assert again.counters["steps"] == log.steps


def test_predictions_of_other_threads_hold_while_the_head_grows_and_change_no_bit():
    """The head doubles seven times, patterns and gradient subsets change, two threads never stop asking."""

    def life(asking: int) -> np.ndarray:
        x, y = samples(range(2), count=20)
        wrong: list[BaseException] = []
        over = threading.Event()
        with learner(method="der++", classes=2, sparsity=0.8, gradient_keep=0.5) as ours:
            ours.observe(x, y)
            ours.learn(epochs=1)

            def ask() -> None:
                while not over.is_set():
                    try:
                        shares = ours.predict(x[:3], proba=True)
                        np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-5)
                    except BaseException as error:
                        wrong.append(error)
                        return

            threads = [threading.Thread(target=ask) for _ in range(asking)]
            for thread in threads:
                thread.start()
            for doubling in range(7):
                ours.observe(x[:32], np.arange(32) + 2 ** (doubling + 1))
                ours.learn(epochs=4)
            over.set()
            for thread in threads:
                thread.join()
            assert not wrong
            return ours.predict(x, proba=True)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        np.testing.assert_array_equal(life(2), life(0))
    finally:
        sys.setswitchinterval(before)


@pytest.mark.parametrize("wrong", [{"governor_log": "/nowhere"}, {"energy_source": "csv:/nowhere"}])
def test_a_learner_that_could_not_be_made_leaves_its_store_for_another_try(tmp_path, wrong):
    store, budget = str(tmp_path / "s"), Budget(energy="5J")
    with pytest.raises(EdgeclError):
        learner(store=store, budget=budget, **wrong)
    with learner(store=store) as ours:
        teach(ours, (0, 1))


def test_a_saved_learner_is_opened_with_its_own_store_only(tmp_path):
    for name in ("ours", "theirs"):
        with learner(method="er", store=str(tmp_path / name), path=tmp_path / f"{name}.saved") as one:
            teach(one, (0, 1))
            one.save()
    with pytest.raises(EdgeclError, match="not the store"):
        Learner.open(tmp_path / "ours.saved", store=tmp_path / "theirs")
    (tmp_path / "ours").rename(tmp_path / "moved")
    with pytest.raises(BadInput, match="not in"):
        Learner.open(tmp_path / "ours.saved")
    assert not (tmp_path / "ours").exists()  # no empty store in its place
    (tmp_path / "ours").mkdir()  # as when its card is not mounted
    with pytest.raises(BadInput, match="not in"):
        Learner.open(tmp_path / "ours.saved")
    assert not list((tmp_path / "ours").iterdir())
    with Learner.open(tmp_path / "ours.saved", store=tmp_path / "moved") as again:
        assert again.counters["stored"] > 0


@pytest.mark.parametrize("method", ["naive", "er"])
def test_not_even_the_first_step_crosses_a_budget_of_flops(method):
    x, y = samples((0, 1))
    with learner(method=method, budget=Budget(flops=1000)) as ours:
        ours.observe(x, y)
        log = ours.learn(epochs=1)
        assert log.steps == 0 and "FLOPs" in (log.stopped or "") and ours.counters["flops"] == 0


@pytest.mark.parametrize("policy", ["reservoir", "balanced"])
def test_a_task_longer_than_the_store_goes_on_with_what_is_left(tmp_path, policy):
    x, y = samples((0, 1), count=100)
    with learner(store=tmp_path / "s", store_limit="60 samples", buffer=10, memory_policy=policy) as ours:
        for at in range(0, 200, 40):  # no end_task: it is optional
            ours.observe(x[at : at + 40], y[at : at + 40])
            assert ours.learn(epochs=1).stopped is None
        assert ours.counters["buffered"] == 10 + 60
        ours.end_task()


def test_the_folder_of_the_process_may_change(tmp_path, monkeypatch):
    x, y = samples((0, 1))
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    monkeypatch.chdir(tmp_path / "first")
    with learner(store="s", path="saved", keep_checkpoints=1) as ours:
        ours.observe(x, y, subject=1)
        ours.learn(epochs=1)
        monkeypatch.chdir(tmp_path / "second")
        ours.observe(x, y, subject=2)
        ours.end_task()
        ours.observe(np.repeat(x, 4000, 0), np.repeat(y, 4000))  # more than one file of the store
        ours.save()
        ours.retrain_without(2)
    assert not list((tmp_path / "second").iterdir())
    monkeypatch.chdir(tmp_path / "first")
    with Learner.open("saved") as again:  # the saved state names the store as it was given
        assert again.counters["stored"] == 4001 * len(x)


def test_of_several_threads_with_a_new_task_one_ends_the_old_one():
    x, y = samples((0, 1), count=4)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(20):
            with learner() as ours:
                ours.observe(x, y, task="old")
                begin = threading.Barrier(4)

                def bring(ours=ours, begin=begin) -> None:
                    begin.wait()
                    ours.observe(x, y, task="new")

                threads = [threading.Thread(target=bring) for _ in range(4)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                assert [p.count for p in ours.life.intake.buffer.portions] == [len(x), 4 * len(x)]
    finally:
        sys.setswitchinterval(before)


def test_a_program_may_end_while_a_thread_learns(tmp_path):
    program = """
        import threading, time
        import numpy as np
        from edgecl import Learner
        ours = Learner("mlp", input_shape=(1, 12, 12), store="s")
        ours.observe(np.zeros((50, 1, 12, 12), np.uint8), [k % 3 for k in range(50)])
        threading.Thread(target=ours.learn, kwargs={"seconds": 60}, daemon=True).start()
        time.sleep(0.1)
    """
    for _ in range(4):
        command = [sys.executable, "-P", "-c", textwrap.dedent(program)]
        assert subprocess.run(command, cwd=tmp_path, timeout=60).returncode == 0


def test_an_interrupt_at_any_moment_leaves_a_learner_that_goes_on(tmp_path):
    """Ctrl-C in a service that means to go on: the head grows, the buffer fills, the memory changes."""

    class Interrupt(BaseException):
        pass

    def interrupt(*_):
        raise Interrupt

    x, y = samples((0, 1), count=20)
    before = signal.signal(signal.SIGALRM, interrupt)
    interrupted = 0
    try:
        with learner(classes=2, buffer=2000) as ours:
            ours.observe(x, y)
            for n in range(120):
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0.0002 + 0.00005 * (n % 40))
                    if n % 2:
                        ours.observe(x[:8], [f"label {n} {k % 3}" for k in range(8)])
                    ours.learn(steps=20)
                    signal.setitimer(signal.ITIMER_REAL, 0)
                except Interrupt:
                    interrupted += 1
                ours.learn(steps=1)
                assert np.isfinite(ours.predict(x[:2], proba=True)).all()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert interrupted > 10


def test_an_impossible_budget_is_refused():
    with pytest.raises(InfeasibleBudget):
        learner(budget=Budget(ram="10KB"))


def test_a_loss_that_is_not_finite_undoes_the_call_and_says_so():
    with learner(method="naive", lr=1e30) as ours:
        ours.observe(*samples((0, 1)))
        before = ours.life.state()["trainer"]["engine"]
        log = ours.learn(epochs=5)
        assert "not finite" in log.stopped and "as they were" in log.stopped
        for name, values in ours.life.state()["trainer"]["engine"].items():
            np.testing.assert_array_equal(values, before[name])


def test_after_an_undone_call_no_logits_of_its_model_are_replayed():
    with learner(method="der++") as ours:
        teach(ours, (0, 1), epochs=2)
        memory = ours.core.parts.memory
        kept = memory.order.copy()
        ours.core.parts.config = replace(ours.core.parts.config, lr=1e30)
        x, y = samples((2, 3))
        ours.observe(x, [NAMES[k] for k in y])
        assert "not finite" in ours.learn(epochs=5).stopped
        ours.core.parts.config = replace(ours.core.parts.config, lr=0.05)
        new = memory.order != kept
        assert new.any() and not memory.widths["logits"][new].any() and memory.widths["logits"][~new].all()
        assert ours.learn(epochs=5).stopped is None
        assert accuracy(ours, (0, 1, 2, 3), NAMES) > 0.8


def test_weights_can_come_from_a_file(tmp_path):
    with learner(method="naive") as ours:
        teach(ours, (0, 1))
        model = ours.core.parts.engine.model
        save_file({n: np.array(model[n].dense()) for n in model.parameters}, tmp_path / "w.safetensors")
        x, _ = samples((0, 1), seed=6)
        wanted = ours.core.predict(x)["logits"]
        with learner(method="naive", weights=tmp_path / "w.safetensors") as other:
            np.testing.assert_allclose(other.core.predict(x)["logits"], wanted, rtol=1e-5, atol=1e-5)
        with learner(method="naive", classes=5, weights=tmp_path / "w.safetensors"):
            pass
        with pytest.raises(BadInput, match=r"shape|missing"):
            learner(method="naive", model="cnn", weights=tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("x", "y", "word"),
    [
        (np.zeros((1, 11, 12)), "cat", "shape|takes"),
        (np.full((3, *SHAPE), np.nan), ["a", "b", "c"], "Sample 0"),
        (np.stack([np.zeros(SHAPE), np.full(SHAPE, 300.0)]), ["a", "b"], "Sample 1"),
        (np.zeros((2, *SHAPE), np.uint8), ["a"], "one label per sample"),
        (np.zeros((2, *SHAPE), np.uint8), ["a", 2.5], "Label 1"),
        (np.zeros((1, *SHAPE), np.uint8), [True], "Label 0"),
        (np.zeros(SHAPE, np.uint8), None, "label"),
    ],
)
def test_what_cannot_be_learned_is_refused_by_index(x, y, word):
    with learner(method="naive") as ours:
        with pytest.raises(BadInput, match=word):
            ours.observe(x, y)
        assert ours.labels == () and not len(ours.life.intake.buffer)


def test_closed_means_closed():
    ours = learner(method="naive")
    ours.close()
    ours.close()
    with pytest.raises(EdgeclError, match="closed"):
        ours.observe(*samples((0,)))


def test_limits_that_cannot_be_kept_are_refused():
    with pytest.raises(BadInput, match="no device profile"):
        learner(budget=Budget(energy=5))
    with pytest.raises(BadInput, match="without a store"):
        learner(budget=Budget(flash_writes_per_day="1GB"))


def test_run_options_and_unknown_ones_are_refused():
    with pytest.raises(BadInput, match="epochs"):
        learner(epochs=3)
    with pytest.raises(BadInput, match="sparsity"):
        learner(sparcity=0.5)
