"""A pytest plugin for slow processors: a property is tried on a few examples, however many its test asks for."""

from __future__ import annotations

from typing import Any

import hypothesis

MOST = 6
_make = hypothesis.settings.__init__


def _fewer(self: hypothesis.settings, *given: Any, **options: Any) -> None:
    if isinstance(options.get("max_examples"), int):
        options["max_examples"] = min(options["max_examples"], MOST)
    _make(self, *given, **options)


hypothesis.settings.__init__ = _fewer  # type: ignore[method-assign]
hypothesis.settings.register_profile("fewer", max_examples=MOST, deadline=None)
hypothesis.settings.load_profile("fewer")
