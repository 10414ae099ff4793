"""Which samples the episodic memory keeps: policies by name. Ours live in the storage, which knows no plugins."""

from __future__ import annotations

from ..registry import Registry
from ..storage import MemoryPolicy
from ..storage.policies import POLICIES as _OURS

MEMORY_POLICIES: Registry[type[MemoryPolicy]] = Registry("memory policy", "edgecl.memory_policies")
for _own in _OURS.values():
    MEMORY_POLICIES.register(_own)
