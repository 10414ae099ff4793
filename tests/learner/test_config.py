"""Options are parsed, checked, and refused with cause and remedy."""

from __future__ import annotations

import json
import warnings

import pytest
from edgecl.storage.errors import BadRecord
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecl import Learner
from edgecl.budget import Budget
from edgecl.config import Config, normalise, read_config_file
from edgecl.errors import BadInput, EdgeclError
from edgecl.former_names import FORMER, _said
from edgecl.methods import ER, METHODS, DERpp


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
        ("network", "resnet21", "resnet20"),
        ("model", "resnet21", "resnet20"),
        ("gate", "hybrid_balanced", "hybrid_balanced_p"),
        ("sparse_schedule", "print", "paper"),
        ("alpha", -1, "at least 0"),
        ("draws", 3, "at most 2"),
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
        ({"sparsity_policy": "none", "sparsity": 0.5}, "policy none"),
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


def test_the_chosen_methods_options_stand_beside_those_of_every_run():
    config = Config.make({"method": "der++", "alpha": "0.3", "current_loss": "masked"})
    assert config.of("method") == {"alpha": 0.3, "current_loss": "masked", "replay_forward": "joint"}
    assert config.to_json()["alpha"] == 0.3 and config.to_json()["beta"] is None
    assert METHODS.get(config.method)(**config.of("method")).hyper()["beta"] == 0.5
    assert "alpha" not in Config.make({"method": "er"}).to_json()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "er", "alpha": 0.3}, ["'er' has no option 'alpha'", "--method der or der++"]),
        ({"method": "naive", "beta": 1}, ["'naive' has no option 'beta'", "er or der++"]),
        ({"method": "der", "beta": 1}, ["'der' has no option 'beta'"]),
    ],
)
def test_an_option_of_a_class_that_is_not_chosen_is_refused_with_the_class_that_has_it(options, words):
    with pytest.raises(BadInput) as refused:
        Config.make(options)
    assert all(word in str(refused.value) for word in words)


def test_options_that_a_change_of_method_leaves_behind_are_dropped_by_replace_only():
    config = Config.make({"method": "der++", "alpha": 0.3, "beta": 2.0})
    assert config.replace(method="er").own == {"beta": 2.0}
    assert config.replace(epochs=3).own == config.own and config.replace(beta="0.25").own["beta"] == 0.25
    with pytest.raises(BadInput):
        config.replace(method="er", alpha=0.3)


@pytest.mark.parametrize("method", [ER(beta=2), ER, DERpp(alpha=0.2, replay_forward="separate"), "er"], ids=repr)
def test_an_object_is_a_name_and_its_options(method):
    config = Config.make({"method": method})
    made = METHODS.get(config.method)(**config.of("method"))
    meant = method if isinstance(method, ER | DERpp) else ER()
    assert type(made) is type(meant) and made.hyper() == meant.hyper()
    assert Config.make(json.loads(json.dumps(config.to_json()))) == config


def test_an_option_in_an_object_and_beside_it_is_refused_unless_both_say_the_same():
    with pytest.raises(BadInput, match="twice"):
        Config.make({"method": ER(beta=2), "beta": 1.0})
    assert Config.make({"method": ER(beta=2), "beta": 2.0}).own == {"beta": 2.0}


@pytest.mark.parametrize("method", [3, object(), int, {"name": "er"}])
def test_what_is_no_method_is_refused(method):
    with pytest.raises(BadInput, match="method"):
        Config.make({"method": method})


OLD = {"model": "mlp", "mask": "static", "sparcl": "paper", "carousel": "live", "alpha": None}  # as run.json had them


def test_former_names_mean_what_they_meant_and_warn_once():
    _said.clear()
    with pytest.warns(FutureWarning) as said:
        config = Config.make(OLD)
    assert (config.network, config.sparsity_policy) == ("mlp", "static")
    assert (config.sparse_schedule, config.late_swaps) == ("paper", "drop")
    assert sorted(str(w.message).split("'")[1] for w in said) == ["carousel", "mask", "sparcl"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Config.make(OLD) == config
    assert not set(FORMER) & set(config.to_json())


def test_a_present_name_wins_over_its_former_one():
    assert Config.make({"model": "cnn", "network": "mlp"}).network == "mlp"
    assert Config.make({"model": "cnn", "network": None}).network == "cnn"


def test_a_record_of_before_is_read_without_a_warning(tmp_path):
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"config": OLD}))
    _said.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Config.make(read_config_file(path)).late_swaps == "drop"


def test_no_file_names_code_to_import(tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"use": "evil.py"}))
    with pytest.raises(BadInput, match="--use"):
        read_config_file(path)
    with pytest.raises(BadInput, match="Unknown option 'use'"):
        normalise({"use": "evil.py"})


@pytest.mark.parametrize(
    "option, value",
    [
        ("memory", 2**31 - 1),
        ("memory", 2**63 - 1),
        ("threads", 2**31 - 1),
        ("batch", 2**31 - 1),
        ("replay_batch", 2**63 - 1),
    ],
)
def test_a_size_that_no_machine_has_is_refused_by_name(option, value):
    with pytest.raises((EdgeclError, BadRecord), match=r"machine|whole number") as caught:
        Learner("mlp", input_shape=(1, 8, 8), **{"method": "er", option: value})
    assert caught.value.remedy
