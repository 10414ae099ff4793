"""No public name, parameter, command or option comes or goes unseen (docs/releases.md says how one leaves)."""

from __future__ import annotations

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


def test_everything_that_edgecl_offers_is_shown_in_the_reference():
    import edgecl
    import edgecl.testing

    shown = {name for name, _ in public_names.listed()}
    for module in (edgecl, edgecl.testing):
        missing = {n for n in module.__all__ if f"{module.__name__}.{n}" not in shown and not n.startswith("__")}
        assert missing == set(), module.__name__
