"""What a run chooses by name: our classes, those of installed packages, those a program registers."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from edgecl.errors import BadInput
from edgecl.registry import Registry


@pytest.fixture(scope="session")
def er_ace(install):
    return install("methods")


class Part:
    name = "ours"


def registry(**options) -> Registry:
    kinds = Registry("part", "edgecl.no_such_group", **options)
    kinds.register(Part)
    return kinds


def test_a_registered_class_is_found_and_listed():
    kinds = registry()

    @kinds.register
    class Mine:
        name = "mine"

    assert kinds.get("mine") is Mine and kinds.names() == ("ours", "mine") and "mine" in kinds
    assert kinds.origin("mine").module == __name__ and kinds.origin("mine").package is None


def test_an_unknown_name_is_refused_with_what_there_is():
    with pytest.raises(BadInput, match="Unknown part 'our'") as refused:
        registry().get("our")
    assert refused.value.remedy == "Did you mean 'ours'? Known: ours."


@pytest.mark.parametrize("name", ["", "two words", "a=b", "a/b", None, 3])
def test_a_class_needs_a_name_of_one_word(name):
    with pytest.raises(BadInput, match="name"):
        registry().register(type("Nameless", (), {"name": name}))


def test_a_name_that_is_taken_is_refused_unless_the_same_class_is_defined_again():
    kinds = registry()
    with pytest.raises(BadInput, match="'ours'"):
        kinds.register(type("Other", (), {"name": "ours"}))
    again = type("Part", (), {"name": "ours", "__module__": Part.__module__, "__qualname__": Part.__qualname__})
    kinds.register(again)
    assert kinds.get("ours") is again


def test_a_class_of_another_contract_or_of_another_kind_is_refused_by_name():
    with pytest.raises(BadInput, match=r"'later' .* contract 2"):
        registry().register(type("Later", (), {"name": "later", "contract": 2}))
    with pytest.raises(BadInput, match=r"'odd' .* derived from Part"):
        Registry("part", "edgecl.no_such_group", Part).register(type("Odd", (), {"name": "odd"}))


def test_methods_of_an_installed_package_are_listed_without_importing_it_and_found(python, er_ace):
    code = """
import json, sys
from edgecl.methods import METHODS, make_method
listed = METHODS.names()
assert "er_ace" not in sys.modules
method = make_method("ace", tau=2)
print(json.dumps([listed, str(METHODS.origin("ace")), repr(method), method.hyper(), METHODS.origin("er")]))
"""
    listed, origin, shown, hyper, own = json.loads(python(code, er_ace).stdout)
    assert {"er", "der++", "ace", "broken"} <= set(listed)
    assert origin == "package edgecl-er-ace 1.2, entry point edgecl.methods:ace"
    assert shown == "ERACE(tau=2.0)" and hyper["beta"] is None and hyper["tau"] == 2.0
    assert own is None  # a package cannot take the name of one of ours


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("broken", ["edgecl-er-ace 1.2", "edgecl.methods:broken", "RuntimeError: no licence file"]),
        ("absent", ["edgecl-er-ace 1.2", "edgecl.methods:absent", "No module named 'er_ace_absent'"]),
        ("newer", ["edgecl-er-ace 1.2", "edgecl.methods:newer", "contract 7", "has 1"]),
        ("misnamed", ["edgecl-er-ace 1.2", "calls itself 'ace'"]),
    ],
)
def test_a_plugin_that_cannot_be_used_is_named_and_leaves_the_others_alone(python, er_ace, name, words):
    code = f"""
from edgecl.errors import EdgeclError
from edgecl.methods import make_method
try:
    make_method({name!r})
except EdgeclError as error:
    print(error.cause, "|", error.remedy)
print(make_method("ace").name, make_method("er").name)
"""
    said, others = python(code, er_ace).stdout.splitlines()
    assert all(word in said for word in words) and said.split("|")[1].strip()
    assert others == "ace er"


def test_two_packages_with_one_name_are_both_named(python, er_ace, install):
    twin = install("methods", version="3.0", name="edgecl-er-ace-fork")
    said = python("from edgecl.methods import make_method; make_method('ace')", er_ace, twin).stderr
    assert "edgecl-er-ace 1.2" in said and "edgecl-er-ace-fork 3.0" in said


OWN_NAMES_ONLY = """
import importlib.metadata
def scan(**group): raise SystemExit(f"packages were asked for {group}")
importlib.metadata.entry_points = scan
import numpy as np, edgecl
for more in ({}, {"sparsity": 0.5}, {"sparsity_policy": "none", "memory": 8}):
    with edgecl.Learner("mlp", input_shape=(8,), dtype="float32", classes=2, **more) as learner:
        learner.observe(np.zeros((4, 8), np.float32), [0, 1, 0, 1])
        learner.learn(steps=1)
"""


def test_a_learner_of_our_own_names_does_not_search_the_installed_packages():
    """On a small board the search takes longer than everything else that a start does."""
    done = subprocess.run([sys.executable, "-P", "-c", OWN_NAMES_ONLY], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
