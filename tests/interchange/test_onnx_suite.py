"""ONNX's own test suite, a part of it every time; all of it by `python bench/onnx_suite.py`."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
import onnx_suite as suite

EVERY = {"node": 24, "pytorch-converted": 6, "pytorch-operator": 4}
LEAST = {"node": 0.45, "pytorch-converted": 1.0, "pytorch-operator": 0.8}  # share of the cases that pass


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", EVERY)
def test_cases_pass_or_are_refused_by_name_and_none_fails(kind):
    totals, reasons, failures = suite.run_kind(kind, every=EVERY[kind])
    assert failures == []
    assert totals["pass"] >= LEAST[kind] * sum(totals.values())
    assert all(reasons)


@pytest.mark.campaign
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "least"), [("node", 918), ("pytorch-converted", 82), ("pytorch-operator", 28), ("light", 9)]
)
def test_the_whole_suite(kind, least):
    totals, _, failures = suite.run_kind(kind)
    assert failures == [] and totals["pass"] >= least
