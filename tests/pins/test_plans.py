"""The table of plans and their bytes: what a plan says of a network, a method and a budget does not change unseen.

`python tests/pins/test_plans.py` writes the table anew for this machine's instruction set; whoever changes a row says
why in CHANGELOG.md.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from edgecl import _kernels

TABLE = Path(__file__).parent / "plans.json"
NETS = {
    "mlp": (1, 12, 12),
    "cnn": (1, 28, 28),
    "resnet20": (3, 32, 32),
    "mobilenetv2": (3, 32, 32),
    "cnn1d": (6, 1, 128),
    "ds_cnn": (1, 49, 10),
    "resnet18": (3, 32, 32),
}
METHODS = (
    {"method": "naive"},
    {"method": "er"},
    {"method": "der++"},
    {"method": "der++", "replay_forward": "separate"},
)
MASKS = ({}, {"sparsity": 0.9, "gradient_keep": 0.8}, {"sparsity": 0.75, "mask": "static"})
ELSE = ({"batch": 8}, {"batch": 32, "optimizer": "adam", "store": "store", "memory": 300})


def rows() -> dict[str, dict]:
    """Options by the name of their row."""
    found = {}
    for net, method, mask, rest in itertools.product(NETS, METHODS, MASKS, ELSE):
        options = {"model": net, **method, **mask, **rest}
        found[" ".join(f"{k}={v}" for k, v in options.items())] = options
    return found


def growth(options: dict) -> dict[str, int]:
    """Bytes by purpose of a learner's plan."""
    from edgecl.budget import Budget
    from edgecl.config import Config
    from edgecl.intake.spec import sample_spec
    from edgecl.network import resolve_network
    from edgecl.planning.learner_plan import plan_learner

    spec = sample_spec(NETS[options["model"]], "uint8", None, None)
    graph = resolve_network(options["model"], spec, 10).graph
    plan = plan_learner(Config.make(options), graph, spec, 500, Budget(), 0)
    return {k: int(v) for k, v in plan.growth.items()}


def this_machine() -> str:
    return f"{_kernels.isa()} {'x'.join(map(str, np.atleast_1d(_kernels.lanes())))}"


@pytest.mark.parametrize("net", NETS)
def test_a_plan_s_bytes_are_those_of_the_table(net):
    table = json.loads(TABLE.read_text())
    if this_machine() not in table:
        pytest.skip(f"the table has no rows for {this_machine()}")
    known = table[this_machine()]
    for name, options in rows().items():
        if options["model"] == net:
            assert growth(options) == known[name], name


if __name__ == "__main__":
    table = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    table[this_machine()] = {name: growth(options) for name, options in rows().items()}
    TABLE.write_text(json.dumps(table, separators=(",", ":")).replace("},", "},\n") + "\n")
