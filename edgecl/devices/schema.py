"""The schema check of device profiles: a figure without mark and source is refused by its place."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, NoReturn

from ..errors import BadInput
from .figures import MARKS, SCHEMA, Cluster, Fact, Figure, Profile, Table
from .folder import profile_folder
from .kernel_rates import CLASSES, KNOTS, Rates

# section -> (required figures, optional figures)
SECTIONS: dict[str, tuple[set[str], set[str]]] = {
    "memory": ({"bytes"}, {"latency_ns"}),
    "process": ({"baseline_rss_bytes"}, set()),
    "kernels": (
        {"step_seconds", "tensor_seconds", "feed_bytes_per_s", "update_traffic"},
        {"sparse_update_traffic", "forward_loop", "weight_loop"},
    ),
    "model": ({"band_low", "band_high", "power_band_high"}, set()),
    "caches": (set(), {"l1d_bytes", "l2_bytes", "l3_bytes"}),
    "power": (set(), {"idle", "one_core", "all_cores"}),
    "battery": (set(), {"milliamp_hours", "volts"}),
    "thermal": (set(), {"soft_c", "throttle_c", "throttled_ghz", "sustained", "time_constant_s"}),
    "flash": (
        set(),
        {"capacity_bytes", "read_bytes_per_s", "write_bytes_per_s", "read_iops", "write_iops",
         "endurance_cycles", "write_amplification", "fsync_seconds"},
    ),
}  # fmt: skip
TABLES = {
    ("memory", "bandwidth"): "threads",
    ("gemm", "efficiency"): "threads",
}
OPTIONAL_TABLES = {("memory", "by_size"): "bytes", ("kernels", "parallel"): "threads"}


def parse_profile(data: Mapping[str, Any], place: str) -> Profile:
    """A checked profile from its tables; ``place`` names the file in errors."""
    check = _Checker(place)
    if data.get("schema") != SCHEMA:
        check.fail("schema", f"is {data.get('schema')!r}, expected {SCHEMA}")
    known = {"schema", "name", "title", "notes", "clusters", "gemm", *SECTIONS}
    if unknown := set(data) - known:
        check.fail(sorted(unknown)[0], f"is not a known section; known: {', '.join(sorted(known))}")
    for key in ("name", "title"):
        if not isinstance(data.get(key), str) or not data[key]:
            check.fail(key, "is missing")
    clusters = [check.cluster(c, f"clusters[{i}]") for i, c in enumerate(data.get("clusters", []))]
    if not clusters:
        check.fail("clusters", "is missing")
    tables = {key: check.table(data.get(key[0], {}).get(key[1]), ".".join(key), by) for key, by in TABLES.items()}
    for (section, name), by in OPTIONAL_TABLES.items():
        entries = data.get(section, {}).get(name)
        tables[section, name] = () if entries is None else check.table(entries, f"{section}.{name}", by)
    rates = data.get("kernels", {}).get("rates")
    kernels = check.rates(rates) if rates is not None else {}
    figures: dict[str, dict[str, Figure]] = {}
    for section, (required, optional) in SECTIONS.items():
        content = dict(data.get(section, {}))
        for owner, table in (*TABLES, *OPTIONAL_TABLES, ("kernels", "rates")):
            if owner == section:
                content.pop(table, None)
        if missing := required - set(content):
            check.fail(f"{section}.{sorted(missing)[0]}", "is missing")
        if unknown := set(content) - required - optional:
            check.fail(f"{section}.{sorted(unknown)[0]}", "is not a known figure")
        figures[section] = {k: check.figure(v, f"{section}.{k}") for k, v in content.items()}
    clusters.sort(key=lambda c: -c.flops_per_core)
    profile = Profile(
        data["name"],
        data["title"],
        tuple(clusters),
        tables["memory", "bandwidth"],
        tables["gemm", "efficiency"],
        tables["kernels", "parallel"],
        kernels,
        figures,
        tables["memory", "by_size"],
    )
    for threads, _ in (*profile.bandwidth_by_threads, *profile.gemm_by_threads, *profile.parallel_by_threads):
        if threads > profile.cores:
            check.fail("threads", f"of a table is {threads:g}, the device has {profile.cores} cores")
    return profile if kernels else with_reference(profile, check)


def with_reference(profile: Profile, check: _Checker) -> Profile:
    """A profile that carries no rates of its own, with the reference's, scaled by the simulated inner loops."""
    own = profile.figures["kernels"]
    if missing := {"forward_loop", "weight_loop"} - set(own):
        check.fail(f"kernels.{sorted(missing)[0]}", "is missing, and so are measured rates")
    rates, loops = reference_rates()
    found = {}
    for (kind, phase), r in rates.items():
        loop = "weight_loop" if phase == "weight" else "forward_loop"
        scale = own[loop].value / loops[loop].value
        grid = tuple(tuple(v * scale for v in row) for row in r.efficiency)
        source = f"{r.source}; scaled by {scale:.2f}, kernels.{loop} here over there"
        found[kind, phase] = Rates(grid, r.traffic, r.start, "derived", source)
    return replace(profile, kernels=found)


@cache
def reference_rates() -> tuple[dict[tuple[str, str], Rates], dict[str, Figure]]:
    """Rates measured on one machine, and the inner loops' efficiencies there."""
    data = json.loads((profile_folder() / "reference_rates.json").read_text())
    check = _Checker("reference_rates.json")
    loops = {k: check.figure(data[k], k) for k in ("forward_loop", "weight_loop")}
    return check.rates(data["rates"]), loops


class _Checker:
    def __init__(self, place: str) -> None:
        self.place = place

    def fail(self, where: str, what: str) -> NoReturn:
        raise BadInput(
            f"Device profile {self.place}: '{where}' {what}.",
            f"Every figure is {{ value = number, mark = one of {', '.join(MARKS)}, source = text }}.",
        )

    def figure(self, entry: Any, where: str) -> Figure:
        if not isinstance(entry, dict):
            self.fail(where, "is a bare value without mark and source")
        if unknown := set(entry) - {"value", "unit", "mark", "source"}:
            self.fail(where, f"has an unknown entry '{sorted(unknown)[0]}'")
        value = entry.get("value")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
            self.fail(where, f"has the value {value!r}, expected a number of 0 or more")
        if entry.get("mark") not in MARKS:
            self.fail(where, f"has the mark {entry.get('mark')!r}")
        source = entry.get("source")
        if not isinstance(source, str) or not source.strip():
            self.fail(where, "has no source")
        return Figure(float(value), entry["mark"], entry["source"], entry.get("unit", ""))

    def fact(self, entry: Any, where: str) -> Fact:
        if not isinstance(entry, dict) or not isinstance(entry.get("value"), str):
            self.fail(where, "is not a text with mark and source")
        self.figure({**entry, "value": 0}, where)
        return Fact(entry["value"], entry["mark"], entry["source"])

    def cluster(self, entry: Any, where: str) -> Cluster:
        required = {"core", "count", "ghz", "flop_per_cycle", "isa"}
        if not isinstance(entry, dict) or not required <= set(entry) <= required | {"core_watts"}:
            self.fail(where, "needs core, count, ghz, flop_per_cycle, isa and at most core_watts")
        count, ghz, flops = (self.figure(entry[k], f"{where}.{k}") for k in ("count", "ghz", "flop_per_cycle"))
        if count.value != int(count.value) or min(count.value, ghz.value, flops.value) <= 0:
            self.fail(where, "needs a whole number of cores and figures above 0")
        watts = self.figure(entry["core_watts"], f"{where}.core_watts") if "core_watts" in entry else None
        return Cluster(str(entry["core"]), count, ghz, flops, self.fact(entry["isa"], f"{where}.isa"), watts)

    def rates(self, entries: Any) -> dict[tuple[str, str], Rates]:
        """Every class of our kernels, once."""
        if not isinstance(entries, Sequence) or not all(isinstance(e, dict) for e in entries):
            self.fail("kernels.rates", "is not a list of classes")
        found = {}
        for i, entry in enumerate(entries):
            where = f"kernels.rates[{i}]"
            key = (entry.get("kind"), entry.get("phase"))
            if key not in CLASSES or key in found:
                self.fail(where, f"is of no known class, or twice: {key}")
            expected = {"kind", "phase", "efficiency", "traffic", "start", "mark", "source"}
            if set(entry) != expected:
                self.fail(where, f"needs exactly {', '.join(sorted(expected))}")
            rows, columns = (len(k) for k in KNOTS[key[0]])
            grid = entry["efficiency"]
            if not isinstance(grid, Sequence) or [len(r) for r in grid] != [columns] * rows:
                self.fail(where, f"needs {rows} x {columns} efficiencies")
            numbers = [v for row in grid for v in row]
            for value in (*numbers, entry["traffic"], *entry["start"]):
                self.figure({"value": value, "mark": entry["mark"], "source": entry["source"]}, where)
            if min(numbers) <= 0 or len(entry["start"]) != 2:
                self.fail(where, "has an efficiency of 0, or not two start times")
            found[key] = Rates(
                tuple(tuple(map(float, r)) for r in grid), float(entry["traffic"]),
                (float(entry["start"][0]), float(entry["start"][1])), entry["mark"], entry["source"],
            )  # fmt: skip
        if missing := [c for c in CLASSES if c not in found]:
            self.fail("kernels.rates", f"has no entry for {missing[0]}")
        return found

    def table(self, entries: Any, where: str, by: str) -> Table:
        if not isinstance(entries, Sequence) or not entries or not all(isinstance(e, dict) for e in entries):
            self.fail(where, f"is missing; it is a list of figures by {by}")
        rows = []
        for i, entry in enumerate(entries):
            rest = dict(entry)
            key = rest.pop(by, None)
            if isinstance(key, bool) or not isinstance(key, (int, float)) or key <= 0:
                self.fail(f"{where}[{i}]", f"has no {by}")
            figure = self.figure(rest, f"{where}[{i}]")
            if figure.value <= 0:
                self.fail(f"{where}[{i}]", "is not above 0")
            rows.append((float(key), figure))
        keys = [k for k, _ in rows]
        if keys != sorted(set(keys)):
            self.fail(where, f"is not in ascending order of {by}")
        return tuple(rows)
