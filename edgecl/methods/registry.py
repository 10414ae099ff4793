"""Methods by name."""

from __future__ import annotations

from typing import Any

from ..options import options_of
from ..registry import Registry
from .agem import AGEM
from .base import Method
from .bic import BiC
from .cls_er import CLSER
from .derpp import DER, DERpp
from .er import ER
from .er_ace import ERACE
from .ewc import OnlineEWC
from .gdumb import GDumb
from .gss import GSS
from .icarl import ICaRL
from .joint import Joint
from .kfpf import KFPF
from .lda import StreamingLDA
from .lwf import LwF
from .mir import MIR
from .naive import Naive
from .ncm import NCM
from .rainbow import RainbowMemory
from .ridge import Ridge
from .si import SI
from .tiny_er import TinyER
from .xder import XDERLite

METHODS: Registry[type[Method]] = Registry("method", "edgecl.methods", Method)
_REPLAY = (ER, ERACE, TinyER, DER, DERpp, XDERLite, CLSER, MIR, GSS, AGEM, RainbowMemory, ICaRL, BiC)
_WITHOUT_REPLAY = (NCM, StreamingLDA, Ridge, GDumb, KFPF, LwF, OnlineEWC, SI)
for _own in (Naive, Joint, *_REPLAY, *_WITHOUT_REPLAY):
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
