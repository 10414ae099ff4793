"""`edgecl methods`, and what a run says of a method that is not meant for its stream."""

from __future__ import annotations

import json

from edgecl.cli import run_command_line
from edgecl.methods import METHODS, make_method, methods
from edgecl.methods.scenario import misfit, scenario_of


def test_every_method_is_listed_with_what_it_is_for_and_what_it_takes(capsys):
    assert run_command_line(["methods", "--json"]) == 0
    rows = {line["name"]: line for line in json.loads(capsys.readouterr().out)}
    assert set(methods()) <= set(rows)
    for line in rows.values():
        assert set(line) == {"name", "scenarios", "extra_bytes", "extra_flops", "reference", "verdict"}
    assert rows["naive"]["extra_bytes"] == rows["naive"]["extra_flops"] == 0
    # the cnn: 94,218 weights, a memory of 500 pictures; forward FLOPs of a row from its layers by hand
    weights = 32 * 9 + 64 * 32 * 9 + 128 * 64 * 9 + 10 * 128 + 10 + 2 * (32 + 64 + 128)
    forward = 2 * (28 * 28 * 32 * 9 + 14 * 14 * 64 * 32 * 9 + 7 * 7 * 128 * 64 * 9 + 10 * 128)
    first = 2 * 28 * 28 * 32 * 9  # whose input needs no gradient
    step = 32 * (3 * forward - first)
    assert rows["er"]["extra_flops"] == step
    assert rows["slda"]["extra_flops"] == 32 * forward - step
    assert rows["lwf"]["extra_flops"] == 32 * forward
    side = 4 * (weights + 2 * (32 + 64 + 128))  # with running statistics
    assert rows["er"]["extra_bytes"] > 500 * 784
    lists = rows["lwf"]["extra_bytes"] - side
    assert 0 < lists < 1.5e6, "a teacher: its values, and lists to evaluate it by"
    assert rows["slda"]["extra_bytes"] < rows["naive"]["extra_bytes"] < rows["er"]["extra_bytes"]


def test_the_table_is_for_people(capsys):
    assert run_command_line(["methods"]) == 0
    shown = capsys.readouterr().out
    assert "verdict" in shown and "er-ace" in shown and "Caccia" in shown
    assert run_command_line(["methods", "--ledger", "/nowhere"]) == 2
    assert "no file" in capsys.readouterr().err


def test_a_stream_is_what_its_tasks_classes_make_it():
    assert scenario_of([(0, 1), (2, 3)]) == "class-il"
    assert scenario_of([(0, 1, 2)] * 3) == "domain-il"
    assert scenario_of([(0, 1)]) == "class-il"
    assert misfit(METHODS.get("er"), "class-il") is None
    assert "er-ace" in misfit(METHODS.get("lwf"), "class-il")
    assert "domain-il" in misfit(METHODS.get("icarl"), "domain-il")

    class Silent(type(make_method("naive"))):
        name = "silent"
        scenarios = ()

    assert misfit(Silent, "class-il") is None, "who does not say what he is for is not judged"
