"""Rows of other devices, from the cost model: the same cases side by side, every figure labelled and with its band."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..devices import LATER_TORCH, CostModel, list_profiles, load_profile, operations
from ..errors import BadInput
from .work import OURS, TORCH, Case, densities_of, graph_of


def profiles_of(devices: str) -> list[str]:
    """Names of ``a,b`` or ``all`` (every shipped device)."""
    return [n for n in list_profiles() if n != "host"] if devices == "all" else devices.split(",")


def modelled_rows(wanted: Sequence[Case], devices: Sequence[str], threads: int | None) -> list[dict[str, Any]]:
    """A row per case and device: seconds and joules of a step, and of a sample. threads : None takes every core."""
    rows = []
    # torch needs no installation to be modelled, and a phone has none to measure
    peers = list(dict.fromkeys([*wanted, *(Case(c.net, c.batch, 1.0, TORCH, c.operation) for c in wanted)]))
    for name in devices:
        profile = load_profile(name)
        used = profile.cores if threads is None else min(threads, profile.cores)
        for case in peers:
            graph = graph_of(case.net)
            mode = "train" if case.operation == "train" else "inference"
            work = operations(graph, case.batch, mode, densities_of(graph, case.density), 1.0)
            cost = CostModel(profile, used, None if case.engine == OURS else LATER_TORCH).step(work)
            rows.append(
                {
                    **case.row(used),
                    "device": name,
                    "seconds": cost.seconds,
                    "seconds_band": [cost.seconds * factor for factor in cost.band],
                    "joules": cost.joules,
                    "joules_band": None if cost.joules is None else [cost.joules * f for f in cost.joules_band],
                    "seconds_per_sample": cost.seconds / case.batch,
                    "joules_per_sample": None if cost.joules is None else cost.joules / case.batch,
                    "source": cost.label,
                }
            )
    return add_ratios(rows, "seconds", ("device",))


def add_ratios(rows: list[dict[str, Any]], figure: str, more: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Each row with ``ratio``: the baseline's figure (ours, dense, same network and device) over its own."""
    keys = ("net", "operation", "batch", "threads", *more)

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(row.get(k) for k in keys)

    base = {key(r): r[figure] for r in rows if r["engine"] == OURS and r["density"] == 1.0}
    if not base:
        raise BadInput("The bench has no dense row to compare with.", "Keep density 1 among the densities.")
    return [{**r, "ratio": base[key(r)] / r[figure] if r[figure] else None} for r in rows]
