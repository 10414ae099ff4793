"""No public name, parameter, command or option comes or goes unseen (docs/releases.md says how one leaves)."""

from __future__ import annotations

import inspect
import re

import public_names
import pytest

pytest.importorskip("typer")


def test_public_names_are_those_that_are_listed():
    new, gone = public_names.changed()
    assert not new and not gone, "see docs/releases.md; then: python tests/structure/public_names.py --write"


def test_a_parameter_and_a_member_are_part_of_the_list():
    class Changed:
        def __init__(self, a, *rest, b=1, **more):
            pass

        def work(self, x):
            pass

        def _own(self):
            pass

    assert list(public_names.described("m.Changed", Changed)) == ["m.Changed(a, *rest, b, **more)", "m.Changed.work(x)"]


# Words that stand for something that a reader of the summary alone has not read of.
DANGLING = re.compile(r"^(It|They|Those)\b|\b(of it|it takes|them|themselves|there is)\b|^What (it|they)\b")
OTHERS_ROOMS = ("edgecl.data.", "edgecl.storage.")


def summaries():
    """(name, first sentence of its docstring, or "") of every public class, function, method and property."""
    for name, found in public_names.listed():
        members = vars(found).items() if inspect.isclass(found) else ()
        inner = [(f"{name}.{k}", getattr(m, "__func__", m)) for k, m in members if not k.startswith("_")]
        for full, one in [(name, found), *inner]:
            if inspect.isclass(one) or inspect.isfunction(one) or isinstance(one, property):
                text = inspect.getdoc(one) or ""
                yield full, re.split(r"(?<=[.:;])\s", text.split("\n\n")[0].replace("\n", " "))[0]


def test_every_public_name_has_a_summary_that_stands_alone():
    mine = [(n, s) for n, s in summaries() if not n.startswith(OTHERS_ROOMS)]
    assert len(mine) > 150
    assert [(n, s) for n, s in mine if not s or DANGLING.search(s)] == []


def test_everything_that_edgecl_offers_is_shown_in_the_reference():
    import edgecl
    import edgecl.testing

    shown = {name for name, _ in public_names.listed()}
    for module in (edgecl, edgecl.testing):
        missing = {n for n in module.__all__ if f"{module.__name__}.{n}" not in shown and not n.startswith("__")}
        assert missing == set(), module.__name__
