"""Sparsity policies and gradient masks by name."""

from __future__ import annotations

from ..registry import Registry
from .base import SparsityPolicy
from .dgm import DGM
from .rigl import RigL
from .set import SET
from .static import Static
from .tdm import TDM

POLICIES: Registry[type[SparsityPolicy]] = Registry("sparsity policy", "edgecl.policies", SparsityPolicy)
for _policy in (TDM, Static, SET, RigL):
    POLICIES.register(_policy)
GRADIENT_MASKS: Registry[type[DGM]] = Registry("gradient mask", "edgecl.gradient_masks", DGM)
GRADIENT_MASKS.register(DGM)
