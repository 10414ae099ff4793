"""Planned growth of the resident set is what is measured, within 5 % + 1 MB, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest
from planned_growth import assert_planned

CONFIGS = {
    "mlp, replay, store": {"network": "mlp", "method": "der++", "store": "s", "out": "o"},
    "cnn, 90 %": {"network": "cnn", "method": "er", "sparsity": 0.9, "batch": 8},
    "cnn, Adam, naive": {"network": "cnn", "method": "naive", "optimizer": "adam", "lr": 0.001},
}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_plan_predicts_the_growth_of_memory(stream, tmp_path, name):
    options = {"stream": stream, "epochs": 2, "memory": 24, "batch": 16, **CONFIGS[name]}
    assert_planned(options, tmp_path, timeout=120)


def test_the_command_line_is_gone_when_training_begins():
    names = "('typer', 'rich', 'torch')"
    code = f"import sys, edgecl.commands.train; sys.exit(any(m in sys.modules for m in {names}))"
    assert subprocess.run([sys.executable, "-c", code], cwd="/", check=False).returncode == 0
