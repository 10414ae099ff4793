"""Options declared where a class is: constructor, ranges, record and command line follow from one line."""

from __future__ import annotations

import itertools

import pytest

from edgecl.choices import Choice, own_options
from edgecl.config import OPTIONS, Config
from edgecl.errors import BadInput
from edgecl.methods import ER, METHODS
from edgecl.options import Configurable, option, options_of
from edgecl.parsing import choice, count, real
from edgecl.registry import Registry
from edgecl.sparsity import POLICIES, TDM, SparsityPolicy


class Base(Configurable):
    name = "base"
    tau: float = option(2.0, real(0.0, True), "temperature")
    kind: str = option("soft", choice(("soft", "hard")), "of the targets")


class Derived(Base):
    name = "derived"
    tau = 3
    rounds: int | None = option(None, count(1), "how often")


def test_options_are_attributes_keywords_and_repr():
    made = Derived(kind="hard", rounds="4")
    assert (made.tau, made.kind, made.rounds) == (3.0, "hard", 4)
    assert repr(made) == "Derived(kind='hard', rounds=4)" and made.given == {"kind": "hard", "rounds": 4}
    assert Derived(**made.hyper()).hyper() == made.hyper() == {"tau": 3.0, "kind": "hard", "rounds": 4}
    assert Base().tau == Base.tau == 2.0


def test_a_derived_class_may_change_a_default_or_take_an_option_away():
    class Fixed(Base):
        @property
        def tau(self):
            return 1.0

    assert list(options_of(Derived)) == ["tau", "kind", "rounds"]
    assert list(options_of(Fixed)) == ["kind"] and Fixed().tau == 1.0
    with pytest.raises(BadInput, match="no option 'tau'"):
        Fixed(tau=2)


@pytest.mark.parametrize(
    "bad", [{"tau": 0}, {"tau": "warm"}, {"tau": None}, {"kind": "odd"}, {"rounds": 0.5}, {"x": 1}]
)
def test_a_bad_value_or_an_unknown_option_is_refused(bad):
    with pytest.raises(BadInput) as refused:
        Derived(**bad)
    assert refused.value.remedy


@pytest.fixture
def own_methods():
    """METHODS as it was, after the test."""
    before = dict(METHODS.loaded()), dict(METHODS._origins)
    yield METHODS
    METHODS._entries, METHODS._origins = before


def test_an_option_named_like_one_of_every_run_is_refused_unless_it_asks_for_the_runs(own_methods):
    @own_methods.register
    class Clash(ER):
        name = "clash"
        lr: float = option(0.1, real(), "another learning rate")

    @own_methods.register
    class Shares(ER):
        name = "shares"
        rate: float = option(0.1, real(), "the run's learning rate", run="lr")

    with pytest.raises(BadInput, match="'lr' of the method 'clash'"):
        Config.make({"method": "clash"})
    config = Config.make({"method": "shares", "lr": 0.3})
    assert config.of("method")["rate"] == 0.3 and "rate" not in config.to_json()


def test_options_of_policies_carry_the_policys_name_so_that_no_two_classes_share_one():
    policies = Registry("sparsity policy", "edgecl.no_such_group")

    class Cosine(Configurable):
        name = "cosine-2"
        alpha: float = option(0.5, real(), "share that moves")

    policies.register(Cosine)
    assert Choice("sparsity_policy", policies).flat("cosine-2", "alpha") == "cosine_2_alpha"
    assert Choice("method", METHODS, prefixed=False).flat("der++", "alpha") == "alpha"


@pytest.mark.parametrize(
    ("options", "seat", "made"),
    [
        ({"sparsity": 0.5, "tdm_delta": "0.02"}, "sparsity_policy", {"form": "released", "delta": 0.02}),
        ({"sparse_schedule": "paper", "tdm_alpha": 1}, "sparsity_policy", {"form": "paper", "alpha": 1.0}),
        ({"sparsity_policy": "rigl", "rigl_until": 0.5}, "sparsity_policy", {"until": 0.5}),
        ({"gradient_keep": "0.8", "dgm_refresh": 7}, "gradient_keep", {"keep": 0.8, "form": "released", "refresh": 7}),
        ({"sparsity_policy": "none"}, "sparsity_policy", {}),
        ({}, "gradient_keep", {}),
    ],
)
def test_policies_and_gradient_masks_are_made_with_their_options(options, seat, made):
    config = Config.make(options)
    assert config.of(seat) == made and Config.make(config.to_json()) == config


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sparsity_policy": "static", "tdm_delta": 0.02}, ["'static' has no option 'tdm_delta'", "policy tdm"]),
        ({"dgm_refresh": 7}, ["No gradient mask", "--gradient-keep below 1"]),
        ({"sparsity_policy": "none", "set_exchanged": 0.1}, ["No sparsity policy", "--sparsity-policy set"]),
        ({"tdm_delta": 0.5}, ["tdm delta", "below 0.5"]),
        ({"method": "er", "alpha": 0.5}, ["'er' has no option 'alpha'"]),  # TDM's is tdm_alpha
    ],
)
def test_a_policys_option_without_the_policy_is_refused(options, words):
    with pytest.raises(BadInput) as refused:
        Config.make(options)
    assert all(word in str(refused.value) for word in words)


def test_what_replace_makes_unused_is_dropped():
    config = Config.make({"gradient_keep": 0.8, "dgm_refresh": 7, "sparsity": 0.5, "tdm_delta": 0.02})
    assert config.replace(sparsity=0.0, sparsity_policy="none", gradient_keep=1.0).own == {}


def test_an_object_of_a_policy_gives_its_options_and_one_that_declares_none_is_refused():
    assert Config.make({"sparsity_policy": TDM(delta=0.03, form="paper")}).to_json()["tdm_delta"] == 0.03
    assert Config.make({"sparsity_policy": TDM(form="paper")}).sparse_schedule == "paper"
    before = dict(POLICIES.loaded()), dict(POLICIES._origins)

    class Undeclared(SparsityPolicy):
        name = "undeclared"

        def __init__(self, share=0.3):
            self.share = share

        def options(self):
            return {"share": self.share}

    try:
        with pytest.raises(BadInput, match="not declared"):
            Config.make({"sparsity_policy": Undeclared(0.1)})
    finally:
        POLICIES._entries, POLICIES._origins = before


def test_a_contract_is_the_plugins_own_word_not_its_bases():
    class Silent(SparsityPolicy):
        name = "silent"

    registry = Registry("policy", "edgecl.no_such_group")
    with pytest.raises(BadInput, match="does not say its contract"):
        registry._check(Silent, "package silent 1.0")


def test_no_built_in_class_clashes_with_a_run_or_another_class():
    for method, policy in itertools.product(METHODS, POLICIES):
        own_options({"method": method, "sparsity_policy": policy, "gradient_keep": 0.5}, OPTIONS)
