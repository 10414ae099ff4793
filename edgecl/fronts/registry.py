"""Fronts by name."""

from __future__ import annotations

from ..registry import Registry
from .audio import LogMel
from .backbone import Backbone
from .base import Front
from .inertial import Window

FRONTS: Registry[type[Front]] = Registry("front", "edgecl.fronts", Front)
for _own in (LogMel, Window, Backbone):
    FRONTS.register(_own)
