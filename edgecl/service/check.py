"""What `edgecl serve --check` prints: the plan of the configured learner, and what the unit is to allow."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from .config import ServiceConfig
from .held import new_learner


def checked(config: ServiceConfig, use: tuple[str, ...] = ()) -> dict[str, Any]:
    """The learner is made in a folder that goes again; nothing of the state folder is touched. Raises `BadInput`."""
    with (
        tempfile.TemporaryDirectory(prefix="edgecl-check-") as place,
        new_learner(config, Path(place) / "store", use) as learner,
    ):
        plan = learner.plan
        peak = int(plan.peak_bytes)
        return {
            "ok": True,
            "parameters": {name: list(shape) for name, shape in learner.parameters.items()},
            "baseline_bytes": int(plan.baseline),
            "growth_bytes": int(plan.growth_bytes),
            "peak_bytes": peak,
            "pool_bytes": config.pool.bytes,
            "unit": memory_limits(peak + config.pool.bytes),
        }


def memory_limits(peak: int) -> dict[str, str]:
    """MemoryHigh and MemoryMax of the unit for a planned peak in bytes: 5 % and 15 % above it."""
    return {"MemoryHigh": f"{-(-peak * 105 // 100 >> 20)}M", "MemoryMax": f"{-(-peak * 115 // 100 >> 20)}M"}
