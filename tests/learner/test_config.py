"""Options are parsed, checked, and refused with cause and remedy."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecl.budget import Budget
from edgecl.config import Config, read_config_file
from edgecl.errors import BadInput


@pytest.mark.parametrize(
    ("option", "value", "word"),
    [
        ("sparsity", 1.0, "below 1"),
        ("sparsity", -0.1, "fraction"),
        ("sparsity", float("nan"), "fraction"),
        ("sparsity", "dense", "not a number"),
        ("gradient_keep", 0, "above 0"),
        ("remove", 1, "below 1"),
        ("batch", 0, "at least 1"),
        ("batch", 2.5, "whole"),
        ("epochs", "inf", "whole"),
        ("lr", float("nan"), "finite"),
        ("lr", 0, "above 0"),
        ("ram", "lots", "96MB"),
        ("ram", "-5MB", "96MB"),
        ("ram", "5 parsecs", "96MB"),
        ("flops", "0", "positive"),
        ("store_limit", "0 samples", "at least one"),
        ("durability", "batched:0", "batched:MS"),
        ("micro_batch", "some", "not a number"),
        ("method", "derpp", "der++"),
        ("model", "resnet21", "resnet20"),
        ("gate", "hybrid_balanced", "hybrid_balanced_p"),
        ("sparcl", "print", "paper"),
        ("seed", -1, "at least 0"),
        ("epochs", "1e300", "at most 1,000,000"),
        ("metod", "er", "'method'"),
    ],
)
def test_a_bad_option_is_refused_with_what_would_do(option, value, word):
    with pytest.raises(BadInput) as refused:
        Config.make({option: value})
    assert word in str(refused.value) and refused.value.remedy


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"store_limit": "1MB"}, "--store"),
        ({"gate": "all"}, "--store"),
        ({"mask": "none", "sparsity": 0.5}, "mask"),
        ({"optimizer": "adam", "momentum": 0.9}, "sgd"),
        ({"checkpoint_every": 3}, "--out"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, word):
    with pytest.raises(BadInput, match=word):
        Config.make(options)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("96MB", 96_000_000),
        ("1GiB", 2**30),
        ("512", 512),
        ("1.5kib", 1536),
        ("2 k", 2000),
        (7, 7),
        ("1e3B", 1000),
    ],
)
def test_sizes_are_read_as_people_write_them(text, size):
    assert Config.make({"ram": text}).ram == size


def test_the_command_line_wins_over_the_file_and_the_file_over_the_stream(tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"config": {"batch": 8, "epochs": 3}}))
    config = Config.make({**read_config_file(path), "epochs": "4"}, {"batch": 64, "lr": 0.5})
    assert (config.batch, config.epochs, config.lr) == (8, 4, 0.5)


def test_toml_and_dashes_are_understood(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text('gradient-keep = 0.8\nram = "1MB"\n')
    assert Config.make(read_config_file(path)).gradient_keep == 0.8


def test_with_a_store_the_gate_is_on_without_one_off():
    assert Config.make({}).gate_name == "none"
    assert Config.make({"store": "x"}).gate_name == "hybrid_balanced_p"


@settings(deadline=None, max_examples=50)
@given(
    st.fixed_dictionaries(
        {
            "sparsity": st.floats(0, 0.999),
            "gradient_keep": st.floats(0.001, 1),
            "batch": st.integers(1, 1000),
            "ram": st.integers(1, 2**40),
            "store": st.just("s"),
            "store_limit": st.one_of(st.integers(1, 2**40), st.integers(1, 9999).map(lambda n: f"{n} samples")),
            "micro_batch": st.one_of(st.none(), st.just("auto"), st.integers(1, 64)),
        }
    )
)
def test_a_config_survives_json(options):
    config = Config.make(options)
    assert Config.make(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize("bad", [{"ram": "0"}, {"flops": "many"}, {"seconds": float("nan")}, {"scope": "host"}])
def test_a_bad_budget_is_refused(bad):
    with pytest.raises(BadInput):
        Budget(**bad)


def test_a_budget_reads_sizes():
    assert Budget(ram="96MB", flash="1GiB").ram == 96_000_000
