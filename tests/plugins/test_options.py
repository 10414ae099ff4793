"""Options declared where a class is: constructor, ranges, record and command line follow from one line."""

from __future__ import annotations

import pytest

from edgecl.choices import Choice, own_options
from edgecl.config import OPTIONS, Config
from edgecl.errors import BadInput
from edgecl.methods import ER, METHODS
from edgecl.options import Configurable, option, options_of
from edgecl.parsing import choice, count, real
from edgecl.registry import Registry


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


def test_no_built_in_class_clashes_with_a_run_or_another_class():
    for method in METHODS.names():
        own_options({"method": method, "sparsity_policy": "tdm", "memory_policy": "balanced"}, OPTIONS)
