"""Methods by name."""

from __future__ import annotations

import inspect
from typing import Any

from ..errors import BadInput, unknown_name
from .base import Method
from .derpp import DER, DERpp
from .er import ER
from .joint import Joint
from .naive import Naive

_METHODS: dict[str, type[Method]] = {m.name: m for m in (Naive, Joint, ER, DER, DERpp)}


def methods() -> dict[str, type[Method]]:
    """Method classes by name."""
    return dict(_METHODS)


def hyperparameters(name: str) -> tuple[str, ...]:
    """Names `make_method` accepts for this method, sorted."""
    cls = _lookup(name)
    known = {
        p.name
        for c in cls.__mro__[:-1]
        if "__init__" in vars(c)
        for p in inspect.signature(vars(c)["__init__"]).parameters.values()
        if p.kind is p.KEYWORD_ONLY
    }
    return tuple(sorted(known))


def make_method(name: str, **hyper: Any) -> Method:
    """The method called ``name``. Raises `BadInput` for an unknown name or hyperparameter."""
    cls = _lookup(name)
    known = hyperparameters(name)
    for key in hyper:
        if key not in known:
            raise BadInput(f"Method '{name}' has no hyperparameter '{key}'.", f"It has: {', '.join(known)}.")
    return cls(**hyper)


def _lookup(name: str) -> type[Method]:
    if name not in _METHODS:
        raise unknown_name("method", name, _METHODS)
    return _METHODS[name]
