"""Methods by name."""

from __future__ import annotations

from typing import Any

from ..options import options_of
from ..registry import Registry
from .base import Method
from .derpp import DER, DERpp
from .er import ER
from .joint import Joint
from .lda import StreamingLDA
from .naive import Naive
from .ncm import NCM
from .ridge import Ridge

METHODS: Registry[type[Method]] = Registry("method", "edgecl.methods", Method)
for _own in (Naive, Joint, ER, DER, DERpp, NCM, StreamingLDA, Ridge):
    METHODS.register(_own)


def methods() -> tuple[str, ...]:
    """Names `make_method` knows."""
    return METHODS.names()


def hyperparameters(name: str) -> tuple[str, ...]:
    """Names of the options `make_method` accepts for this method, sorted."""
    return tuple(sorted(options_of(METHODS.get(name))))


def make_method(name: str, **hyper: Any) -> Method:
    """The method called ``name``. Raises `BadInput` for an unknown name or option."""
    return METHODS.get(name)(**hyper)
