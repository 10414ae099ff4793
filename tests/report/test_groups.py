"""Runs that differ by their seed are one group: mean, Student's interval, difference seed by seed."""

import csv
import io

import pytest
from test_record import RECORD

from edgecl.commands.seeds import as_words, parse_seeds
from edgecl.errors import BadInput
from edgecl.report.compare_page import compare_page
from edgecl.report.groups import Spread, csv_text, group_table, grouped


def run(method, seed, accuracy, **options):
    config = {**RECORD["config"], "method": method, "seed": seed, "out": f"runs/{method}-{seed}", **options}
    metrics = {**RECORD["metrics"], "average_accuracy": accuracy}
    return f"{method}-{seed}/run.json", {**RECORD, "config": config, "metrics": metrics}


RUNS = [run("er", s, a) for s, a in enumerate((0.5, 0.6, 0.7))] + [
    run("naive", s, a) for s, a in enumerate((0.2, 0.2, 0.5))
]


def test_the_interval_is_students():
    found = Spread.of([0.5, 0.6, 0.7])
    assert found.mean == pytest.approx(0.6)
    assert found.half == pytest.approx(4.303 * 0.1 / 3**0.5)  # by hand: deviation 0.1, two degrees of freedom
    assert Spread.of([0.5]).half is None and Spread.of([]) is None


def test_seeds_make_a_group_and_other_options_do_not():
    assert [(g.name, len(g.runs)) for g in grouped(RUNS)] == [("er", 3), ("naive", 3)]
    more = [*RUNS, run("er", 7, 0.9, lr=0.5)]
    assert [len(g.runs) for g in grouped(more)] == [3, 3, 1]
    assert any("lr 0.5" in g.name for g in grouped([*more, run("er", 8, 0.9, lr=0.5)])) or "lr" not in RECORD["config"]


def test_the_difference_is_taken_seed_by_seed():
    er, naive = grouped(RUNS)
    found = naive.minus(er, "average_accuracy")
    assert found.mean == pytest.approx(-0.3)
    assert found.half == pytest.approx(4.303 * 0.1 / 3**0.5)  # of -0.3, -0.4, -0.2
    assert naive.minus(grouped([run("x", 9, 0.1)])[0], "average_accuracy") is None  # no seed in common
    head, rows = group_table([er, naive])
    assert head == ["", "er", "naive"] and "0.600 ± 0.248 (3)" in rows[1][1]
    assert "-0.300 ± 0.248 (3)" in rows[-2][2]


def test_the_csv_has_a_line_a_run():
    rows = list(csv.DictReader(io.StringIO(csv_text(grouped(RUNS)))))
    assert len(rows) == 6 and [float(r["average_accuracy"]) for r in rows[:3]] == [0.5, 0.6, 0.7]
    assert {r["group"] for r in rows} == {"er", "naive"}


def test_the_page_shows_every_group():
    text = compare_page(grouped(RUNS))
    assert "0.600 ± 0.248 (3)" in text and text.count("class='chart'") == 1


@pytest.mark.parametrize(("text", "seeds"), [("0-4", [0, 1, 2, 3, 4]), ("3", [3]), ("1,5,2-3,3", [1, 5, 2, 3])])
def test_seeds_as_people_write_them(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "4-1", "a", "1-2-3", "-1", "0-99999", "1,,2", "1.5"])
def test_other_seeds_are_refused(text):
    with pytest.raises(BadInput):
        parse_seeds(text)


def test_options_become_words():
    assert as_words("skip_broken", True) == ["--skip-broken"] and as_words("lr", None) == as_words("x", False) == []
    assert as_words("lr", 0.1) == ["--lr", "0.1"]
