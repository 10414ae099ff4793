"""From the shipped profile of the board: what a calibration did not measure stays as it was known."""

from __future__ import annotations

from typing import Any

from ..boards import board_model, board_profile, shipped_tables

KEPT = ("power", "battery", "thermal", "flash", "caches")  # sections that a measurement may not have


def keep_what_is_known(data: dict[str, Any], model: str | None = None) -> str | None:
    """Put into ``data``, the tables of a calibration, what the shipped profile of this board knows and ``data`` does
    not; the profile's name, or None for an unknown board. What was measured stays.

    model : of the board, by default what the device tree says
    """
    name = board_profile(board_model() if model is None else model)
    if name is None:
        return None
    known = shipped_tables(name)
    for section in KEPT:
        if section in known:
            data[section] = {**known[section], **data.get(section, {})}
    if "latency_ns" in known["memory"]:
        data["memory"].setdefault("latency_ns", known["memory"]["latency_ns"])
    if "power" not in data or data["power"] == known.get("power"):
        data["model"]["power_band_high"] = known["model"]["power_band_high"]
    by_core = known["clusters"]
    if len(by_core) == 1 and len(data["clusters"]) == 1:
        cluster = data["clusters"][0]
        cluster["core"] = by_core[0]["core"]
        if "core_watts" in by_core[0]:
            cluster.setdefault("core_watts", by_core[0]["core_watts"])
    data["title"] = f"{known['title']}, calibrated"
    return name
