"""What the device gives and what of it is used: RAM, flash, budgets; for metrics, status and page alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..budget import Budget, resident
from .held import Held

Facts = Mapping[str, Any]


def device_facts(held: Held, limits: Mapping[str, Any], facts: Facts) -> dict[str, Any]:
    """Resident bytes and their limit or None, bytes of the store, years until the flash is worn or None, budgets.

    limits : the ``[budget]`` section;  facts : of `Held.facts`
    """
    flash = facts["flash"]
    return {
        "resident_bytes": resident(),
        "ram_limit_bytes": Budget(**limits).ram,
        "memory_slots": int(held.learner.plan.config.memory),
        "store_bytes": None if flash is None else flash["bytes"],
        "flash_written_bytes": None if flash is None else flash["bytes_written"],
        "flash_years": flash_years(held, facts),
        "budget": [{"kind": kind, "used": used, "limit": most} for kind, used, most in budgets(limits, facts)],
    }


def budgets(limits: Mapping[str, Any], facts: Facts) -> list[tuple[str, float, float]]:
    """(kind, used, limit) of every budget of training that was given: FLOPs, seconds, joules."""
    used = {"flops": facts["flops"], "seconds": facts["train_seconds"], "energy": facts["energy_joules"]["value"]}
    given = Budget(**limits)
    found = ((kind, value, getattr(given, kind)) for kind, value in used.items())
    return [(kind, float(value), float(most)) for kind, value, most in found if most is not None and value is not None]


def flash_years(held: Held, facts: Facts) -> float | None:
    """At the last day's writes, by the figures of the device's profile; None without one."""
    device = held.learner.plan.config.device
    a_day = None if facts["flash"] is None else facts["flash"]["bytes_written_last_day"]
    if device is None or a_day is None:
        return None
    from ..devices.load import load_profile
    from ..storage import endurance_years

    found = load_profile(device).flash_endurance
    return None if found is None else endurance_years(a_day, *found)
