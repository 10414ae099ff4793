"""Sparsity policies of people outside: found by entry point, kept to the contract, and doing what their papers say."""

import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent / "policies"


@pytest.fixture(scope="module")
def outside():
    """outside(name) -> class, of the project's folder: what pip would install."""
    sys.path.insert(0, str(HERE))
    yield lambda name: getattr(
        __import__({"SETOutside": "set_outside", "RigLOutside": "rigl_outside"}.get(name, name.lower())), name
    )
    sys.path.remove(str(HERE))


NAMES = ("SETOutside", "RigLOutside", "SNIP", "PackNet")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.campaign) for n in NAMES[:3]] + list(NAMES[3:]))
def test_each_is_one_class_in_one_file_that_keeps_the_contract_on_both_engines(outside, name):
    from edgecl.testing import check_policy

    pytest.importorskip("torch")
    check_policy(outside(name))


@pytest.mark.parametrize("name", NAMES[:3])
def test_each_keeps_the_contract_on_the_native_engine(outside, name):
    from edgecl.testing import check_policy

    check_policy(outside(name), engines=("native",))


@pytest.mark.campaign  # bytes of a whole process, on a machine that does nothing else
@pytest.mark.parametrize("name", NAMES)
def test_moves_take_no_more_than_planned(outside, name):
    from edgecl.testing import check_policy

    check_policy(outside(name), engines=(), memory=True)


def test_each_file_uses_public_names_only():
    import ast

    for file in HERE.glob("*.py"):
        tree = ast.parse(file.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("edgecl"):
                module = __import__(node.module, fromlist=["__all__"])
                assert {a.name for a in node.names} <= set(getattr(module, "__all__", dir(module))), file.name
            if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
                own = isinstance(node.value, ast.Name) and node.value.id == "self"
                assert own or node.attr == "__init__", f"{file.name}: {node.attr}"
        assert sum(isinstance(n, ast.ClassDef) for n in tree.body) == 1


def test_an_installed_distribution_offers_them_by_entry_point(install, python):
    code = """
import numpy as np
from edgecl.sparsity import POLICIES
for name in ("set-outside", "rigl-outside", "snip", "packnet"):
    print(POLICIES.get(name).__name__, POLICIES.origin(name).package)
"""
    done = python(code, install("policies"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[::2] == list(NAMES)
    assert set(done.stdout.split()[1::2]) == {"edgecl-outside-policies"}


RUNS = {
    "set-outside": {"set_outside_share": 0.2},
    "rigl-outside": {"rigl_outside_every": 15},
    "snip": {"snip_batches": 2},
    "packnet": {"packnet_retrain": 2, "method": "naive"},
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_takes_it_by_name_with_its_options_and_goes_on_as_if_never_stopped(name, install, python, stream):
    """Stopped at 45 % of its steps: within the first task, for PackNet within the phase that retrains it."""
    code = f"""
from threading import Event
from edgecl.run import run
options = {{"stream": {stream!r}, "network": "mlp", "method": "er", "sparsity": 0.75, "epochs": 8, "batch": 16,
           "memory": 40, "sparsity_policy": {name!r}, **{RUNS[name]!r}}}
steps, stop = [], Event()
whole = run({{**options, "out": "whole"}}, listen=steps.append)
until = len(steps) - int(0.45 * len(steps))
def listen(progress):
    steps.pop()
    if len(steps) == until:
        stop.set()
part = run({{**options, "out": "part"}}, listen=listen, stop=stop)
assert not part["status"]["finished"]
rest = run({{}}, resume="part")
assert rest["status"]["finished"] and rest["sparsity"]["mask"] == {name!r}
for what in ("accuracy_matrix", "task_il_accuracy_matrix", "flops", "steps"):
    assert rest[what] == whole[what], what
"""
    done = python(code, install("policies"))
    assert done.returncode == 0, done.stderr


# -- what they do


@pytest.fixture(params=["native", "torch"])
def kind(request):
    if request.param == "torch":
        pytest.importorskip("torch").set_num_threads(1)
    return request.param


def test_snip_keeps_the_largest_products_of_weight_and_gradient_of_the_first_task(outside, kind):
    from edgecl.methods import cross_entropy
    from edgecl.sparsity import top_k
    from edgecl.testing.policy_run import PolicyRun, Setting

    run, dense = (PolicyRun(outside("SNIP")(batches=2), kind, Setting()) for _ in range(2))
    rows = run.engine.plan.batch
    for batch in dense.context().task_samples(min(32, rows), limit=2 * min(32, rows)):
        logits = dense.engine.forward({"input": batch.x})["logits"]
        dense.engine.backward({"logits": cross_entropy(logits, batch.y)[1]})
    wanted = {}
    for name, target in run.sparse.targets.items():
        score = np.abs(dense.engine.model[name].values * dense.engine.gradients[name])
        wanted[name] = top_k(score, target.count)
    run.border()
    for name, pattern in wanted.items():
        assert np.array_equal(run.engine.model[name].pattern, pattern)
    while run.advance():
        pass
    assert all(np.array_equal(run.engine.model[n].pattern, p) for n, p in wanted.items())


@pytest.mark.parametrize("keep", [1.0, 0.6])
def test_packnet_forgets_nothing_when_the_task_is_named(outside, kind, keep):
    """Bit by bit: the logits of a task's classes right after it and after two more."""
    from edgecl.testing.policy_run import PolicyRun, Setting

    policy = outside("PackNet")(retrain=2)
    run = PolicyRun(policy, kind, Setting(tasks=3, epochs=2, density=0.3, net="cnn", gradient_keep=keep))
    kept = {}

    def logits(task):
        x, _ = run.setting.samples(task, 123, 12)
        values = run.sparse.params_at(run.engine, task)
        out = run.engine.forward({"input": x}, training=False, params=values)["logits"]
        return out[:, 2 * task : 2 * task + 2].copy()

    owned = {}
    for task in range(3):
        while run.task == task:
            if run.begun and run.ended and not run.segments:
                kept[task] = logits(task)
                owned[task] = {n: run.engine.model[n].pattern.copy() for n in run.sparse.targets}
                assert all(np.array_equal(kept[t], logits(t)) for t in kept)
                if task:
                    assert all(np.isin(owned[task - 1][n], owned[task][n]).all() for n in owned[task])
                run.border()
            else:
                run.border() if not run.segments else run.advance()
    assert len(kept) == 3
    live = run.engine.forward({"input": run.setting.samples(0, 123, 12)[0]}, training=False)["logits"][:, :2]
    assert not np.array_equal(live, kept[0])


def test_packnet_refuses_a_task_when_its_capacity_has_ended(outside):
    from edgecl.errors import BadInput
    from edgecl.testing.policy_run import PolicyRun, Setting

    run = PolicyRun(outside("PackNet")(retrain=0), "native", Setting(tasks=4, epochs=1, density=0.3))
    with pytest.raises(BadInput, match=r"ended after 3 tasks: 10\.0% of the weights are nobody's, a task takes 29\.9%"):
        while run.advance():
            pass
