"""Methods of people outside: found by entry point, run from the command line and in a learner with the same bits,
stopped inside a phase and resumed, and within what was planned of them."""

from __future__ import annotations

import ast
import json
import sys
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest

import edgecl
from edgecl import checkpoint
from edgecl.budget.stop import Stop
from edgecl.data import load_stream
from edgecl.errors import BadInput
from edgecl.methods import METHODS, Naive
from edgecl.run import run
from edgecl.testing.method_run import MethodRun, Setting

HERE = Path(__file__).parent / "methods"
FILES = {
    "er_ace": "ERACE", "agem": "AGEM", "nearest_mean": "NearestMean", "lwf": "LwF", "streaming_lda": "StreamingLDA",
    "average": "AverageER",
}  # fmt: skip
NAMES = ("agem-outside", "nearest-mean-outside", "lwf-outside", "slda-outside", "average-outside")


@pytest.fixture(scope="module")
def outside():
    """outside(module) -> class, of the project's folder: what pip would install."""
    sys.path.insert(0, str(HERE))
    before = dict(METHODS.loaded()), dict(METHODS._origins)
    yield lambda module: getattr(__import__(module), FILES[module])
    METHODS._entries, METHODS._origins = before
    sys.path.remove(str(HERE))


@pytest.fixture(scope="session")
def package(install):
    return install("methods")


def test_each_file_is_one_class_that_uses_public_names_only():
    for module in FILES:
        tree = ast.parse((HERE / f"{module}.py").read_text())
        assert sum(isinstance(n, ast.ClassDef) for n in tree.body) == 1
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("edgecl"):
                known = __import__(node.module, fromlist=["__all__"])
                assert {a.name for a in node.names} <= set(getattr(known, "__all__", dir(known))), module
            if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
                assert node.attr.startswith("__"), f"{module}: {node.attr}"


@pytest.mark.parametrize("name", NAMES)
def test_the_command_line_trains_with_one_that_is_installed(python, package, stream, tmp_path, name):
    more = ["--warm-up", "1", "--alpha", "0.5"] if name == "lwf-outside" else []
    said = ["run", "--stream", stream, "--network", "mlp", "--method", name, "--batch", "16", "--memory", "24",
            "--epochs", "1", "--out", "o", *more]  # fmt: skip
    code = f"import sys; from edgecl.__main__ import main; sys.argv[1:] = {said!r}; sys.exit(main())"
    done = python(code, package)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "o" / "run.json").read_text())
    assert record["config"]["method"] == name and record["plugins"][0]["package"] == "edgecl-er-ace"
    assert record["flops"]["full"]["executed"] == record["flops"]["full"]["dense"]


# -- run = learner


METHOD_ROWS = {
    "er-ace": ("er_ace", {}),
    "agem": ("agem", {}),
    "nearest mean": ("nearest_mean", {}),
    "lwf": ("lwf", {}),
    "lwf, warm-up": ("lwf", {"warm_up": 2}),
    "slda": ("streaming_lda", {}),
    "average": ("average", {}),
}
COMMON = {"network": "mlp", "batch": 16, "memory": 24, "lr": 0.05, "seed": 4}


def parts_of(state: dict) -> dict[str, np.ndarray]:
    """Arrays that a step depends on, by name."""
    trainer = state["trainer"]
    found = {f"engine/{k}": v for k, v in trainer["engine"].items()}
    found |= {f"method/{k}": v for k, v in trainer["method"].items()}
    return found | {f"memory/{k}": v for k, v in (trainer["memory"] or {}).items()}


def same(one: dict, other: dict) -> None:
    ours, theirs = parts_of(one), parts_of(other)
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        np.testing.assert_array_equal(values, theirs[name], err_msg=name)


def learner_of(stream, method, **more) -> edgecl.Learner:
    s = load_stream(stream)
    shape = {"input_shape": s.input_shape, "mean": s.mean, "std": s.std, "classes": s.class_count}
    return edgecl.Learner(**{**COMMON, **shape, "method": method, **more})


def taught(learner, stream, epochs=3):
    """All tasks of a stream, each learned and ended."""
    for task in load_stream(stream).tasks:
        learner.observe(task.train.read(np.arange(len(task.train))), task.train.labels.tolist())
        learner.learn(epochs=epochs)
        learner.end_task()


@pytest.mark.parametrize("row", METHOD_ROWS)
def test_run_and_learner_give_the_same_bits(outside, stream, tmp_path, row):
    module, options = METHOD_ROWS[row]
    method = outside(module)(**options)
    run({**COMMON, "stream": stream, "method": method, "epochs": 3, "out": str(tmp_path / "o")})
    with learner_of(stream, method) as learner:
        taught(learner, stream)
        learner.save(tmp_path / "saved")
        same(checkpoint.load(tmp_path / "o"), checkpoint.load(tmp_path / "saved"))


@pytest.mark.parametrize("module", FILES)
def test_a_stream_without_tasks_is_taken_or_refused(outside, stream, module):
    method = outside(module)
    if module in ("nearest_mean", "lwf", "streaming_lda"):
        with pytest.raises(BadInput, match="works at the ends of tasks"):
            learner_of(stream, method, tasks=False)
        return
    with learner_of(stream, method, tasks=False) as learner:
        now = load_stream(stream).tasks[0].train
        learner.observe(now.read(np.arange(20)), now.labels[:20].tolist())
        assert learner.learn(epochs=2).steps == 4
        assert set(learner.predict(now.read(np.arange(20)))) <= set(learner.labels)


# -- stopped inside a phase


def test_a_run_stopped_inside_a_phase_goes_on_bit_by_bit(outside, stream, tmp_path):
    options = {**COMMON, "stream": stream, "method": outside("lwf")(warm_up=2), "epochs": 2}
    whole = run({**options, "out": str(tmp_path / "whole")})
    steps = whole["steps"]
    assert steps == 2 * 2 * 6 + 2 * 6  # 96 samples a task; the warm-up of the second one
    stop = Event()
    inside = 2 * 6 + 5
    cut = run(
        {**options, "out": str(tmp_path / "cut")}, stop=stop, listen=lambda p: stop.set() if p.step == inside else None
    )
    assert cut["status"]["reason"] == "interrupted" and cut["steps"] == inside
    saved = checkpoint.load(tmp_path / "cut")["trainer"]["phases"]
    assert len(saved["queue"]) == 1 and saved["loop"]["done"] == 5 and saved["loop"]["frozen"]
    resumed = run({}, resume=tmp_path / "cut")
    assert resumed["accuracy_matrix"] == whole["accuracy_matrix"] and resumed["flops"] == whole["flops"]
    same(checkpoint.load(tmp_path / "cut"), checkpoint.load(tmp_path / "whole"))


def test_the_command_line_resumes_inside_a_phase(python, package, stream, tmp_path):
    code = f"""
import sys
from threading import Event
from edgecl import checkpoint
from edgecl.run import run
options = dict({COMMON!r}, stream={stream!r}, method="lwf-outside", warm_up=2, epochs=2)
run(dict(options, out="whole"))
stop = Event()
run(dict(options, out="cut"), stop=stop, listen=lambda p: stop.set() if p.step == 17 else None)
assert checkpoint.load("cut")["trainer"]["phases"]["queue"]
"""
    assert (done := python(code, package)).returncode == 0, done.stderr
    resume = "import sys; from edgecl.__main__ import main; sys.argv[1:] = ['run', '--resume', 'cut']; sys.exit(main())"
    assert (done := python(resume, package)).returncode == 0, done.stderr
    same(checkpoint.load(tmp_path / "cut"), checkpoint.load(tmp_path / "whole"))


def stop_in_phase(learner, after: int) -> None:
    """Call stop() once so many steps of phases were made."""
    trainer, made = learner.core.trainer, [0]
    step = trainer.phase_step

    def counted(*given):
        made[0] += 1
        if made[0] == after:
            learner.stop()
        return step(*given)

    trainer.phase_step = counted


def test_a_learner_stopped_inside_a_phase_is_saved_opened_and_goes_on_bit_by_bit(outside, stream, tmp_path):
    method, tasks = outside("lwf")(warm_up=2), load_stream(stream).tasks
    samples = [(t.train.read(np.arange(len(t.train))), t.train.labels.tolist()) for t in tasks]

    def first(learner):
        learner.observe(*samples[0])
        learner.learn(epochs=2)
        learner.end_task()
        learner.observe(*samples[1])

    with learner_of(stream, method) as whole:
        first(whole)
        whole.learn(epochs=2)
        whole.save(tmp_path / "whole")
    with learner_of(stream, method) as learner:
        first(learner)
        stop_in_phase(learner, 5)
        log = learner.learn(epochs=2)
        assert log.stopped == "stop() was called" and log.steps == 0
        learner.save(tmp_path / "cut")
    with edgecl.Learner.open(tmp_path / "cut") as learner:
        assert learner.core.phases
        learner.learn(epochs=2)
        learner.save(tmp_path / "cut")
        same(checkpoint.load(tmp_path / "cut"), checkpoint.load(tmp_path / "whole"))


def test_samples_and_labels_that_come_while_a_phase_waits_are_learned_with_it(outside, stream):
    tasks = load_stream(stream).tasks
    with learner_of(stream, outside("lwf")(warm_up=2), classes=2, buffer=300) as learner:
        for number, task in enumerate(tasks):
            learner.observe(task.train.read(np.arange(40)), [f"class {y}" for y in task.train.labels[:40]])
            if number:
                stop_in_phase(learner, 2)
            learner.learn(epochs=1)
            if not number:
                learner.end_task()
        assert learner.core.phases
        learner.observe(tasks[0].train.read(np.arange(40, 50)), [f"new {k}" for k in range(10)])  # wider than the head
        log = learner.learn(epochs=1)
        assert log.stopped is None and not learner.core.phases and learner.core.classes == 16
        assert all(not p.frozen for p in learner.core.parts.engine.model.parameters.values())


def test_a_subject_is_forgotten_while_a_phase_waits(outside, stream):
    tasks = load_stream(stream).tasks
    with learner_of(stream, outside("lwf")(warm_up=2)) as learner:
        for number, task in enumerate(tasks):
            for subject in range(2):
                at = np.arange(20 * subject, 20 * subject + 20)
                learner.observe(task.train.read(at), task.train.labels[at].tolist(), subject=subject)
            if number:
                stop_in_phase(learner, 2)
            learner.learn(epochs=1)
            if not number:
                learner.end_task()
        assert learner.forget(1).buffered == 20
        seen = []
        step = learner.core.trainer.phase_step
        learner.core.trainer.phase_step = lambda rows, *more: seen.append(rows.x.copy()) or step(rows, *more)
        learner.learn(epochs=1)
        rest = tasks[1].train.read(np.arange(20)).reshape(20, -1).tolist()
        assert seen and all(x.ravel().tolist() in rest for rows in seen for x in rows)


def test_a_loss_that_is_not_finite_gives_back_the_phases_that_the_call_trained(outside, stream):
    with learner_of(stream, outside("lwf")(warm_up=1)) as learner:
        tasks = load_stream(stream).tasks
        for number, task in enumerate(tasks):
            learner.observe(task.train.read(np.arange(40)), task.train.labels[:40].tolist())
            if number:
                break
            learner.learn(epochs=1)
            learner.end_task()
        before = None
        core = learner.core
        begin, term = core.begin_task, core.parts.method.current_term

        def began(*given):
            nonlocal before
            begin(*given)
            before = {k: v.copy() for k, v in core.parts.engine.state().items()}

        def breaks(logits, part, whole):
            value, gradient = term(logits, part, whole)
            return (value, gradient) if "units" in part.extra else (np.nan, gradient)

        core.begin_task, core.parts.method.current_term = began, breaks
        assert "not finite" in learner.learn(epochs=1).stopped
        assert len(core.phases.queue) == 1
        for name, values in core.parts.engine.state().items():
            np.testing.assert_array_equal(values, before[name], err_msg=name)
        core.parts.method.current_term = term
        assert learner.learn(epochs=1).stopped is None and not core.phases


# -- what they do


@pytest.fixture(params=["native", "torch"])
def kind(request):
    if request.param == "torch":
        pytest.importorskip("torch").set_num_threads(1)
    return request.param


def test_agem_with_an_empty_memory_is_naive_bit_for_bit(outside, kind):
    ours, naive = MethodRun(outside("agem"), Setting(engine=kind)), MethodRun(Naive, Setting(engine=kind))
    memory = ours.core.parts.memory
    while naive.advance():
        memory.clear(np.arange(memory.slots))
        assert ours.advance()
        for name, values in naive.core.parts.engine.state().items():
            np.testing.assert_array_equal(values, ours.core.parts.engine.state()[name], err_msg=name)


def test_agem_takes_no_step_against_the_memory(outside, kind):
    run = MethodRun(outside("agem"), Setting(engine=kind))
    method, found = run.method, []
    reference = method.reference

    def kept(engine, drawn, micro):
        value = reference(engine, drawn, micro)
        found.append(engine.gradients.flat.copy())
        return value

    taken = []
    step = run.core.parts.engine.step

    def watched(lr):
        if found:
            taken.append(run.core.parts.engine.gradients.dot(found.pop()))
        step(lr)

    method.reference, run.core.parts.engine.step = kept, watched
    while run.advance():
        pass
    assert len(taken) > 10 and min(taken) > -1e-6 and min(taken) < 1e-5 < max(taken)


HAND = {  # rows forwarded and rows backwarded in a full step of the last task, of 8 current and 8 replayed rows
    "er_ace": (16, 16),
    "agem": (16, 16),
    "nearest_mean": (16, 16),
    "lwf": (8 + 8, 8),
    "streaming_lda": (8, 0),
    "average": (16, 16),
}


@pytest.mark.parametrize("module", FILES)
def test_a_step_s_flops_are_those_of_the_plan_and_of_a_count_by_hand(outside, kind, module):
    setting = Setting(engine=kind, samples=24)
    run = MethodRun(outside(module), setting)
    layers = [12 * 16, 16 * 12, 12 * setting.classes]  # the first one has no gradient of its input
    forward = 2 * sum(layers)
    backward = 2 * (layers[0] + 2 * layers[1] + 2 * layers[2])
    meters, last, before = run.core.parts.engine.meters, None, 0
    while run.advance():
        now = meters.forward_flops + meters.backward_flops
        if run.at == "at step 3 of task 3":
            last = now - before
        before = now
    rows = HAND[module]
    assert last == run.plan.step_flops == rows[0] * forward + rows[1] * backward


def test_the_first_sample_of_a_class_sets_its_mean_and_the_scores_follow_the_formula(outside):
    run = MethodRun(outside("streaming_lda"), Setting(tasks=2))
    while run.advance():
        pass
    method, x = run.method, run.setting.around(np.arange(4), np.random.default_rng(1))
    f, y = [], []
    for number, visits in ((0, 1), (1, run.setting.epochs)):
        data = run.setting.task(number)
        f.append(np.tile(run.core.predict(data.read(np.arange(22)))["features"], (visits, 1)))
        y.append(np.tile(data.labels, visits))
    f, y = np.concatenate(f).astype(np.float64), np.concatenate(y)
    for unit in range(4):  # order has no influence on means
        np.testing.assert_allclose(method.sums[1][unit], f[y == unit].mean(axis=0), rtol=1e-6)
    s, mu, _ = method.sums
    d, e = len(s), method.shrink
    precision = np.linalg.inv((1 - e) * s + e * np.trace(s) / d * np.eye(d))
    w = precision @ mu.T
    wanted = run.core.predict(x)["features"] @ w - 0.5 * (mu.T * w).sum(axis=0)
    found = run.core.scores(x)
    np.testing.assert_allclose(found - found.mean(), wanted - wanted.mean(), rtol=1e-3, atol=1e-3 * abs(wanted).max())


def test_predictions_are_those_of_the_average(outside, kind):
    run = MethodRun(outside("average"), Setting(engine=kind))
    x, weights, average = run.setting.around(np.arange(6), np.random.default_rng(1)), [], None
    while run.advance():
        p = run.core.parts.engine.model["fc1.weight"].values.copy()
        k = len(weights)
        a = min(1 - 1 / (k + 1), 0.99)
        average = p if average is None else np.float32(a) * average + np.float32(1 - a) * p
        weights.append(p)
    np.testing.assert_allclose(run.core.parts.engine.side("ema")["fc1.weight"].values, average, rtol=1e-5, atol=1e-7)
    by_side = run.core.parts.engine.forward({"input": x}, training=False, params=run.core.parts.engine.side("ema"))
    np.testing.assert_array_equal(run.core.predict(x)["logits"], by_side["logits"])


def test_a_phase_that_is_stopped_stays_pending(outside):
    run = MethodRun(outside("lwf")(warm_up=1), replace(Setting(), tasks=2))
    while not run.in_phase:
        run.advance()
    run.session.stop.set()
    stop = run.core.run_phases(run.session, run.info, run.data)
    assert isinstance(stop, Stop) and stop.kind == "asked" and run.in_phase
