"""FLOPs of a step of every method of ours: planned and executed, both equal to a count by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small_runs import OURS

from edgecl.methods import METHODS
from edgecl.testing.method_run import Setting
from edgecl.testing.method_watch import WatchedRun

# The network: 12 inputs, 16 and 12 hidden units, 6 classes. A row forward is two FLOPs a weight; trained, as many again
# for the weights' gradients, and for those of what each layer but the first reads.
F = 2 * (12 * 16 + 16 * 12 + 12 * 6)
T = F + F + 2 * (16 * 12 + 12 * 6)
B = R = 8  # current and replayed rows
HAND = {
    "naive": B * T,
    "joint": B * T,
    "si": B * T,
    "online-ewc": B * T,
    "k-fpf": B * T,
    "gdumb": B * T,  # of its steps over the memory
    "er": (B + R) * T,
    "er-ace": (B + R) * T,
    "der": (B + R) * T,
    "der++": (B + R) * T,
    "x-der-lite": (B + R) * T,
    "tiny-er": (B + R) * T,
    "rainbow": (B + R) * T,
    "a-gem": (B + R) * T,  # the memory's gradient has a backward pass of its own
    "lwf": B * T + B * F,  # the teacher's logits
    "icarl": B * T + B * F,
    "bic": B * T + B * F,
    "cls-er": (B + R) * T + 2 * R * F,  # two averages look at the replayed rows
    "mir": (B + R) * T + 2 * 50 * F,  # 50 candidates, before and after a virtual step
    "gss": (B + R) * T + 10 * F,  # against 10 rows of the memory
    "ncm": B * F,
    "slda": B * F,
    "ridge": B * F,
}
SHORT = {"gdumb": {"memory_epochs": 2}, "rainbow": {"memory_epochs": 1}, "k-fpf": {"steps": 4}}


@pytest.mark.parametrize("name", OURS)
def test_planned_and_executed_flops_are_those_counted_by_hand(name):
    method = METHODS.get(name)(**SHORT.get(name, {}))
    memory = max(Setting.memory, method.needs.candidates)
    run = WatchedRun(method, replace(Setting(), memory=memory, epochs=1))
    while run.advance():
        pass
    assert run.plan.step_flops == HAND[name]
    assert run.made == HAND[name]
