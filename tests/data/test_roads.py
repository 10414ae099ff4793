"""From a person's data to a page with no option beyond the path, and how near it comes to what the input allows."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
import roads

from edgecl.report.page import record_in


@pytest.fixture
def things(tmp_path):
    """An npz of 4 classes that share most of their picture."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(4), 30)
    x = rng.integers(60, 180, (8, 8)) + rng.normal(0, 30, (4, 8, 8))
    np.savez(tmp_path / "things.npz", x=np.clip(x[y] + rng.normal(0, 20, (120, 8, 8)), 0, 255).astype(np.uint8), y=y)
    return tmp_path / "things.npz"


def test_a_path_and_nothing_else_ends_with_a_page(things, tmp_path):
    record, _ = roads.walked(things, tmp_path / "here")
    (page,) = (tmp_path / "here").iterdir()  # the page is all that is left there
    assert page.name == "report-things.html" and record == record_in(page)
    assert record["config"]["out"] is None and record["status"]["finished"]
    assert record["history"]["step"] and record["confusion"]["counts"]


def test_a_named_stream_leaves_nothing_behind(tmp_path):
    words = ["run", "--stream", "split-digits", "--network", "mlp", "--epochs", "1", "--limit-train", "100"]
    subprocess.run([sys.executable, "-P", "-m", "edgecl", *words], cwd=tmp_path, check=True, capture_output=True)
    assert list(tmp_path.iterdir()) == []


def test_what_is_asked_of_a_road_can_be_told_from_its_input(things):
    assert roads.logistic(things) > 0.9  # four patterns in noise
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(300, 5)).astype(np.float32), rng.integers(0, 3, 300)
    x[np.arange(300), y] += 3
    weights = roads.fit(x[:200], y[:200], 1e-3)
    assert roads.accuracy(weights, x[200:], y[200:]) > 0.8
    assert roads.accuracy(roads.fit(x[:200], rng.permutation(y[:200]), 1e-3), x[200:], y[200:]) < 0.6


@pytest.mark.campaign
@pytest.mark.parametrize("road", list(roads.ROADS))
def test_each_road_comes_near_joint_training_and_far_from_naive(road, tmp_path):
    row = roads.measured(road, tmp_path)
    assert row["within_5_points_of_joint"] and row["above_naive"], row
