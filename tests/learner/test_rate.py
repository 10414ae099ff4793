"""`--lr auto`: trials find a learning rate, count, and leave no other trace."""

from __future__ import annotations

import numpy as np
import pytest

from edgecl import Learner, checkpoint
from edgecl.planning.schedules import RATES
from edgecl.run import run

OPTIONS = {"network": "mlp", "batch": 8, "memory": 20, "epochs": 6, "seed": 2}


@pytest.fixture(scope="module")
def stream(tmp_path_factory) -> str:
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(4), 40)
    x = np.clip(rng.integers(60, 180, (4, 6, 6))[y] + rng.normal(0, 20, (160, 6, 6)), 0, 255)
    path = tmp_path_factory.mktemp("rate") / "four.npz"
    np.savez(path, x=x.astype(np.uint8), y=y)
    return str(path)


def weights(folder) -> dict[str, np.ndarray]:
    saved = checkpoint.load(folder)
    return {k: v for k, v in saved["trainer"]["engine"].items() if k.endswith("/values")}


def found(folder) -> float:
    return checkpoint.load(folder)["trainer"]["rate"][0]


@pytest.mark.parametrize("given", [{"method": "er"}, {"method": "slda"}, {"method": "der++", "sparsity": 0.5}])
def test_a_run_with_the_rate_that_was_found_is_the_same_bit_for_bit(stream, tmp_path, given):
    options = {**OPTIONS, **given, "stream": stream}
    auto = run({**options, "lr": "auto", "out": str(tmp_path / "auto")})
    rate = found(tmp_path / "auto")
    assert rate in RATES
    plain = run({**options, "lr": rate, "out": str(tmp_path / "plain")})
    ours, theirs = weights(tmp_path / "auto"), weights(tmp_path / "plain")
    assert all(np.array_equal(ours[k], theirs[k]) for k in theirs)
    assert auto["steps"] == plain["steps"]
    assert auto["plan"]["steps"] > plain["plan"]["steps"], "the plan counts the trials"
    assert auto["flops"]["full"]["executed"] > plain["flops"]["full"]["executed"], "and so do FLOPs"


def test_a_rate_at_which_nothing_is_learned_is_not_taken(stream, tmp_path):
    run({**OPTIONS, "stream": stream, "method": "naive", "lr": "auto", "out": str(tmp_path)})
    assert found(tmp_path) > min(RATES)


def test_a_run_that_goes_on_keeps_its_rate(stream, tmp_path):
    options = {**OPTIONS, "stream": stream, "method": "er", "lr": "auto"}
    run({**options, "out": str(tmp_path / "whole")})
    stopped = run({**options, "out": str(tmp_path / "cut"), "flops": run(options)["flops"]["full"]["executed"] // 2})
    assert not stopped["status"]["finished"]
    run({"flops": None}, resume=str(tmp_path / "cut"))
    assert found(tmp_path / "cut") == found(tmp_path / "whole")


def test_a_learner_finds_one_too_and_opens_with_it(tmp_path):
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 255, (60, 1, 6, 6), dtype=np.uint8), [0, 1] * 30
    with Learner("mlp", input_shape=(1, 6, 6), classes=2, method="er", lr="auto", path=tmp_path) as learner:
        learner.observe(x, y)
        learner.learn(epochs=2)
        rate = learner.core.parts.config.rate
        learner.save()
    with Learner.open(tmp_path) as again:
        assert again.core.parts.config.rate == rate
