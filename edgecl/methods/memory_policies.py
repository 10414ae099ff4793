"""Which samples the episodic memory keeps: policies by name. Those that look at samples alone live in the storage,
which knows no plugins; those that ask the network live here."""

from __future__ import annotations

from ..registry import Registry
from ..storage import MemoryPolicy
from ..storage.policies import POLICIES as _OURS
from .herding import Herding
from .uncertainty import Uncertainty

MEMORY_POLICIES: Registry[type[MemoryPolicy]] = Registry("memory policy", "edgecl.memory_policies")
for _own in (*_OURS.values(), Herding, Uncertainty):
    MEMORY_POLICIES.register(_own)
