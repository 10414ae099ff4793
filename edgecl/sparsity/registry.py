"""Sparsity policies by name."""

from __future__ import annotations

from ..registry import Registry
from .base import SparsityPolicy
from .static import Static
from .tdm import TDM

POLICIES: Registry[type[SparsityPolicy]] = Registry("sparsity policy", "edgecl.policies")
for _own in (TDM, Static):
    POLICIES.register(_own)
