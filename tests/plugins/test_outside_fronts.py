"""A front of somebody else's, found by entry point: run, saved, and refused where it is not there or is another."""

from __future__ import annotations

import json

import numpy as np
import pytest


@pytest.fixture(scope="session")
def halves(install):
    return install("fronts")


@pytest.fixture(scope="session")
def raw(tmp_path_factory):
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(4), 20)
    path = tmp_path_factory.mktemp("raw") / "raw.npz"
    np.savez(path, x=(y[:, None, None, None] + rng.normal(0, 0.3, (80, 2, 1, 48))).astype(np.float32), y=y)
    return path


def command(*arguments: object) -> str:
    said = [*map(str, arguments)]
    return f"import sys; from edgecl.__main__ import main; sys.argv[1:] = {said!r}; sys.exit(main())"


def test_it_keeps_the_contract(python, halves):
    code = "from halves_front import Halves; from edgecl.testing import check_front; check_front(Halves, (2, 1, 48))"
    done = python(code, halves)
    assert done.returncode == 0, done.stderr


def test_a_run_names_its_package_and_does_not_go_on_without_it(python, halves, raw, tmp_path, install):
    options = ["--stream", raw, "--network", "mlp", "--batch", 8, "--epochs", 2, "--memory", 16, "--out", "o"]
    done = python(command("run", *options, "--front", "halves", "--halves-each", 3), halves)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "o" / "run.json").read_text())
    assert record["front"]["options"] == {"each": 3} and record["front"]["gives"]["shape"] == [2, 1, 16]
    (noted,) = record["plugins"]
    assert (noted["option"], noted["package"], noted["version"]) == ("front", "edgecl-halves", "0.7")
    refused = python(command("run", "--config", "o/run.json"))
    assert refused.returncode == 2 and "edgecl-halves 0.7, entry point edgecl.fronts:halves" in refused.stderr
    newer = python(command("run", "--config", "o/run.json"), install("fronts", version="0.8"))
    assert newer.returncode == 0 and "0.8" in newer.stderr


LIFE = """
import numpy as np
from edgecl import Learner
x = np.random.default_rng(0).normal(size=(12, 2, 1, 48)).astype(np.float32)
with Learner("mlp", front="halves", input_shape=(2, 1, 48), dtype="float32", method="er", memory=8, path="saved",
             store="store") as learner:
    learner.observe(x, [0, 1] * 6)
    learner.learn(steps=3)
    learner.save()
"""
OPEN = "from edgecl import Learner; learner = Learner.open('saved'); print(learner.plan.front_flops)"


def test_a_saved_learner_needs_it_and_refuses_another_version_of_what_it_computes(python, halves):
    made = python(LIFE, halves)
    assert made.returncode == 0, made.stderr
    assert python(OPEN, halves).stdout == "96\n"
    missing = python(OPEN)
    assert missing.returncode and "front 'halves' of package edgecl-halves 0.7" in missing.stderr
    changed = python("import halves_front; halves_front.Halves.version = 2\n" + OPEN, halves)
    assert changed.returncode and "'halves' of this saved state is not the one here: version 1" in changed.stderr
    code = "import halves_front; halves_front.Halves.version = 2\n" + LIFE
    other = python(code, halves)
    assert other.returncode and "filled through the front halves(each=2) version 1" in other.stderr


def test_a_file_to_use_brings_a_front(python, raw, tmp_path):
    (tmp_path / "mine.py").write_text("""
import numpy as np
from edgecl.fronts import FRONTS, Front

@FRONTS.register
class Faint(Front):
    name = "faint"
    def prepare(self, shape, dtype):
        self.shape = shape
    def __call__(self, x):
        if x.any():
            raise ValueError("no such luck")
        return x
""")
    options = ["--stream", raw, "--network", "mlp", "--epochs", 1, "--front", "faint"]
    refused = python(command("run", *options))
    assert refused.returncode == 2 and "Unknown front 'faint'" in refused.stderr
    failed = python(command("run", "--use", "mine.py", *options))
    assert failed.returncode == 2 and "Traceback" not in failed.stderr
    assert "The front 'faint' of module" in failed.stderr and "failed in __call__: ValueError" in failed.stderr
