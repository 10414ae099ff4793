"""Device profiles: what a device can do, every figure with a mark and a source."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import tomllib

from ..errors import BadInput, unknown_name

SCHEMA = 1
MARKS = ("measured", "vendor", "derived", "assumed")


@dataclass(frozen=True)
class Figure:
    """A number and where it comes from.

    mark : 'measured' on this device by the source; 'vendor' data sheet; 'derived' by the stated formula or
        from a similar device; 'assumed'
    """

    value: float
    mark: str
    source: str
    unit: str = ""


@dataclass(frozen=True)
class Cluster:
    """Cores of one kind. Peak float32 FLOP/s of a core = ghz * 1e9 * flop_per_cycle."""

    core: str
    count: Figure
    ghz: Figure
    flop_per_cycle: Figure

    @property
    def flops_per_core(self) -> float:
        return self.ghz.value * 1e9 * self.flop_per_cycle.value


Table = tuple[tuple[float, Figure], ...]  # (threads or density, figure), ascending


@dataclass(frozen=True)
class Profile:
    """A device. Clusters are ordered fastest core first; n threads use the n fastest cores.

    figures : every other figure by section and name, e.g. figures["power"]["idle"]
    """

    name: str
    title: str
    clusters: tuple[Cluster, ...]
    bandwidth_by_threads: Table
    gemm_by_threads: Table
    sparse_by_density: Table
    figures: Mapping[str, Mapping[str, Figure]]

    @property
    def cores(self) -> int:
        return sum(int(c.count.value) for c in self.clusters)

    @property
    def memory_bytes(self) -> int:
        """RAM visible to Linux."""
        return int(self.figures["memory"]["bytes"].value)

    @property
    def baseline_rss_bytes(self) -> int:
        """Resident set of a process that has imported edgecl and what it needs, before a model exists."""
        return int(self.figures["process"]["baseline_rss_bytes"].value)

    def figure(self, section: str, name: str) -> Figure | None:
        """A figure, or None when the profile does not know it."""
        return self.figures.get(section, {}).get(name)

    def peak_flops(self, threads: int = 1) -> float:
        """float32 FLOP/s at the FMA peak of the ``threads`` fastest cores."""
        left, total = self._check_threads(threads), 0.0
        for cluster in self.clusters:
            used = min(left, int(cluster.count.value))
            total += used * cluster.flops_per_core
            left -= used
        return total

    def gemm_efficiency(self, threads: int = 1) -> float:
        """Fraction of `peak_flops` that a large dense float32 matrix product reaches."""
        return _interpolate(self.gemm_by_threads, self._check_threads(threads))

    def bandwidth(self, threads: int = 1) -> float:
        """Main-memory bytes/s."""
        return _interpolate(self.bandwidth_by_threads, self._check_threads(threads))

    def sparse_efficiency(self, density: float) -> float:
        """Rate of a sparse kernel on its living weights, relative to a dense one."""
        return _interpolate(self.sparse_by_density, density)

    def power(self, threads: int = 1) -> float | None:
        """Watts of the whole device with ``threads`` busy cores, or None when not known."""
        self._check_threads(threads)
        idle, one, full = (self.figure("power", n) for n in ("idle", "one_core", "all_cores"))
        if idle is None or one is None or full is None:
            return None
        return one.value + (full.value - one.value) * (threads - 1) / max(self.cores - 1, 1)

    def _check_threads(self, threads: int) -> int:
        if not 1 <= threads <= self.cores:
            raise BadInput(f"{threads} threads on {self.name}, which has {self.cores} cores.", "Use 1 to that many.")
        return threads


def _interpolate(table: Table, at: float) -> float:
    """Linear between the entries, constant outside."""
    if at <= table[0][0]:
        return table[0][1].value
    for (a, low), (b, high) in pairwise(table):
        if at <= b:
            return low.value + (high.value - low.value) * (at - a) / (b - a)
    return table[-1][1].value


def list_profiles() -> list[str]:
    """Names for `load_profile`: the shipped devices and 'host', this machine."""
    return [*sorted(_shipped()), "host"]


def load_profile(name_or_path: str | Path) -> Profile:
    """A shipped profile by name, a TOML file by path, or 'host': this machine, after a short calibration.

    Raises BadInput for an unknown name or a file that does not follow the schema.
    """
    name = str(name_or_path)
    if name == "host":
        from .calibrate import host_profile

        return host_profile()
    shipped = _shipped()
    if name in shipped:
        text, place = shipped[name].read_text(), name
    elif name.endswith((".toml", ".json")):
        try:
            text, place = Path(name).read_text(), name
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"The device profile {name} cannot be read: {error}.", "Check the path.") from error
    else:
        raise unknown_name("device", name, [*shipped, "host"])
    try:
        data = json.loads(text) if name.endswith(".json") else tomllib.loads(text)
    except (tomllib.TOMLDecodeError, ValueError) as error:
        raise BadInput(f"The device profile {place} is not valid: {error}.", "Compare it with rpi_4b.toml.") from error
    return parse_profile(data, place)


def profile_folder() -> Any:
    """Where the shipped profiles lie: the installed package, or beside it in a source tree not installed."""
    try:
        return resources.files("edgecl.device_profiles")
    except ModuleNotFoundError:
        return Path(__file__).parents[2] / "device_profiles"


def _shipped() -> dict[str, Any]:
    folder = profile_folder()
    return {f.name.removesuffix(".toml"): f for f in folder.iterdir() if f.name.endswith(".toml")}


# --- schema --------------------------------------------------------------------------------

# section -> (required figures, optional figures)
SECTIONS: dict[str, tuple[set[str], set[str]]] = {
    "memory": ({"bytes"}, {"latency_ns"}),
    "process": ({"baseline_rss_bytes"}, set()),
    "kernels": ({"depthwise"}, set()),
    "model": ({"band_low", "band_high", "power_band_high"}, set()),
    "caches": (set(), {"l1d_bytes", "l2_bytes", "l3_bytes"}),
    "power": (set(), {"idle", "one_core", "all_cores"}),
    "thermal": (set(), {"soft_c", "throttle_c", "throttled_ghz"}),
    "flash": (
        set(),
        {"capacity_bytes", "read_bytes_per_s", "write_bytes_per_s", "read_iops", "write_iops",
         "endurance_cycles", "write_amplification"},
    ),
}  # fmt: skip
TABLES = {
    ("memory", "bandwidth"): "threads",
    ("gemm", "efficiency"): "threads",
    ("kernels", "sparse"): "density",
}


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
    figures: dict[str, dict[str, Figure]] = {}
    for section, (required, optional) in SECTIONS.items():
        content = dict(data.get(section, {}))
        for owner, table in TABLES:
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
        tables["kernels", "sparse"],
        figures,
    )
    for threads, _ in (*profile.bandwidth_by_threads, *profile.gemm_by_threads):
        if threads > profile.cores:
            check.fail("threads", f"of a table is {threads:g}, the device has {profile.cores} cores")
    return profile


class _Checker:
    def __init__(self, place: str) -> None:
        self.place = place

    def fail(self, where: str, what: str) -> None:
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

    def cluster(self, entry: Any, where: str) -> Cluster:
        if not isinstance(entry, dict) or set(entry) != {"core", "count", "ghz", "flop_per_cycle"}:
            self.fail(where, "needs exactly core, count, ghz and flop_per_cycle")
        count, ghz, flops = (self.figure(entry[k], f"{where}.{k}") for k in ("count", "ghz", "flop_per_cycle"))
        if count.value != int(count.value) or min(count.value, ghz.value, flops.value) <= 0:
            self.fail(where, "needs a whole number of cores and figures above 0")
        return Cluster(str(entry["core"]), count, ghz, flops)

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
