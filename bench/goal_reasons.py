"""Where a goal of a training step is not reached: the roofline's answer, from the results of step.py and layers.py."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from targets import STEP_TARGETS

Row = dict[str, Any]
Case = tuple[str, int, float]  # network, batch, density
HEAD = ["network", "sparsity", "ratio", "goal", "ratio at the roofline", "of the roofline, reached",
        "asked for by the goal",
        "where one thread's time goes: what limits it, its share (reached of its roofline)"]  # fmt: skip


def by_case(layers: Iterable[Row]) -> dict[Case, list[Row]]:
    found: dict[Case, list[Row]] = defaultdict(list)
    for r in layers:
        found[r["net"], r["batch"], r["density"]].append(r)
    return found


def roofline_ms(rows: Iterable[Row]) -> float:
    """Milliseconds of a one-thread step were every operation at its roofline."""
    return sum(r["ms"] * min(1.0, r["of_roofline"]) for r in rows)


def shares(rows: Sequence[Row]) -> str:
    """The limits that hold at least a tenth of the time, largest first."""
    total = sum(r["ms"] for r in rows)
    groups: dict[str, list[Row]] = defaultdict(list)
    for r in rows:
        groups["passes over maps" if r["layer"] == "maps" else r["limit"]].append(r)
    parts = []
    for limit, members in sorted(groups.items(), key=lambda g: -sum(r["ms"] for r in g[1])):
        ms = sum(r["ms"] for r in members)
        if ms >= 0.1 * total:
            parts.append(f"{limit} {100 * ms / total:.0f} % ({100 * roofline_ms(members) / ms:.0f} %)")
    return ", ".join(parts)


def reasons(steps: Iterable[Row], layers: Iterable[Row]) -> list[list[str]]:
    """Rows under ``HEAD``, one for each whole step in float32 that misses its goal and whose layers were measured."""
    cases = by_case(layers)
    whole = [r for r in steps if r["peer_kind"] == "torch" and r["gradient_keep"] == 1 and r["allocation"] == "uniform"]
    single = {(r["net"], r["batch"]): r["peer_cpu_ms"] for r in whole if r["threads"] == 1 and r["isa"] != "avx2"}
    table = []
    for r in sorted(whole, key=lambda r: (r["net"], -r["batch"], -r["density"])):
        case = (r["net"], r["batch"], r["density"])
        target = STEP_TARGETS.get((*case[:2], 1.0, "", r["threads"]), {}).get(case[2])
        if not target or r["ratio_median"] >= target[1] or case not in cases or case[:2] not in single:
            continue
        bound = roofline_ms(cases[case])
        dense = single[case[:2]]
        needed = bound / (dense / target[1])
        table.append(
            [f"{case[0]} b{case[1]}", "dense" if case[2] == 1 else f"{100 * (1 - case[2]):g} %",
             f"{r['ratio_median']:.2f}x", f"{target[1]:g}x", f"{dense / bound:.1f}x",
             f"{100 * bound / sum(row['ms'] for row in cases[case]):.0f} %",
             f"{100 * needed:.0f} %" if needed <= 1 else f"{100 * needed:.0f} %: out of reach",
             shares(cases[case])]
        )  # fmt: skip
    return table
