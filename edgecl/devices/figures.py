"""What a device profile holds: figures with a mark and a source, clusters of cores, and what is derived from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from ..errors import BadInput
from .kernel_rates import Rates

SCHEMA = 2
MARKS = ("measured", "vendor", "derived", "modelled", "assumed")


@dataclass(frozen=True)
class Figure:
    """A number and where it comes from.

    mark : 'measured' on this device by the source; 'vendor' data sheet; 'derived' by the stated formula or
        from a similar device; 'modelled' by a simulator of the core; 'assumed'
    """

    value: float
    mark: str
    source: str
    unit: str = ""


@dataclass(frozen=True)
class Fact:
    """A property in words, with its mark and source as any figure."""

    value: str
    mark: str
    source: str


@dataclass(frozen=True)
class Cluster:
    """Cores of one kind. Peak float32 FLOP/s of a core = ghz * 1e9 * flop_per_cycle.

    core_watts : what one busy core draws at its top clock, over the idle device
    """

    core: str
    count: Figure
    ghz: Figure
    flop_per_cycle: Figure
    isa: Fact
    core_watts: Figure | None = None

    @property
    def flops_per_core(self) -> float:
        return self.ghz.value * 1e9 * self.flop_per_cycle.value


Table = tuple[tuple[float, Figure], ...]  # (threads or bytes, figure), ascending


@dataclass(frozen=True)
class Profile:
    """A device. Clusters are ordered fastest core first; n threads use the n fastest cores.

    kernels : rates of our engine by (class, phase): measured here by a calibration, else the shipped reference scaled
        by what a simulator says of this core's inner loops
    figures : every other figure by section and name, e.g. figures["power"]["idle"]
    """

    name: str
    title: str
    clusters: tuple[Cluster, ...]
    bandwidth_by_threads: Table
    gemm_by_threads: Table
    parallel_by_threads: Table  # empty where nobody measured our kernels
    kernels: Mapping[tuple[str, str], Rates]
    figures: Mapping[str, Mapping[str, Figure]]
    bandwidth_by_size: Table = ()

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

    @property
    def lanes(self) -> int:
        """float32 values of the widest vector."""
        isa = self.clusters[0].isa.value.upper().replace("-", "")
        return 16 if "AVX512" in isa else 8 if "AVX" in isa else 4

    def figure(self, section: str, name: str) -> Figure | None:
        """A figure, or None when the profile does not know it."""
        return self.figures.get(section, {}).get(name)

    @property
    def flash_endurance(self) -> tuple[float, float, float] | None:
        """Capacity of the flash in bytes, write cycles and the controller's write amplification; None where the
        profile does not know one of them.
        """
        found = [self.figure("flash", k) for k in ("capacity_bytes", "endurance_cycles", "write_amplification")]
        capacity, cycles, amplification = (None if f is None else float(f.value) for f in found)
        if capacity is None or cycles is None or amplification is None:
            return None
        return capacity, cycles, amplification

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
        return interpolate(self.gemm_by_threads, self._check_threads(threads))

    def bandwidth(self, threads: int = 1, working_set: float | None = None) -> float:
        """Bytes/s of main memory or, where the profile knows caches by size, of a ``working_set`` in bytes.

        Threads share the set and main memory; caches they have to themselves, the more the faster those are.
        """
        main = interpolate(self.bandwidth_by_threads, self._check_threads(threads))
        if working_set is None or not self.bandwidth_by_size:
            return main
        one = interpolate(self.bandwidth_by_size, working_set / threads, logarithmic=True)
        largest, fastest = self.bandwidth_by_size[-1][1].value, max(v.value for _, v in self.bandwidth_by_size)
        alone = interpolate(self.bandwidth_by_threads, 1)
        own = min(max(one - largest, 0) / (fastest - largest), 1) if fastest > largest else 0.0
        return max(one / largest, 1.0) * (main + own * (threads * alone - main))

    def parallel(self, threads: int = 1) -> float:
        """Share of the ``threads`` cores' rates that our kernels reach together, over what they reach on one: measured
        by a calibration, else that of a large matrix product, which contends for the same memory (`contention`)."""
        self._check_threads(threads)
        if not self.parallel_by_threads:
            return self.contention(threads)
        return interpolate(self.parallel_by_threads, threads)

    def contention(self, threads: int = 1) -> float:
        """What is left of one core's efficiency in a large matrix product when ``threads`` cores work on it, 1 at
        most."""
        return min(1.0, self.gemm_efficiency(threads) / self.gemm_efficiency(1))

    def scaling(self, threads: int = 1) -> float:
        """How many times faster ``threads`` cores are than one, at most: by compute or by bandwidth, whichever gains
        more."""
        compute = self.peak_flops(threads) * self.contention(threads) / self.peak_flops(1)
        return max(compute, self.bandwidth(threads) / self.bandwidth(1))

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


def interpolate(table: Table, at: float, logarithmic: bool = False) -> float:
    """Linear between the entries (in the logarithm of the key where asked), constant outside."""
    if at <= table[0][0]:
        return table[0][1].value
    for (a, low), (b, high) in pairwise(table):
        if at <= b:
            share = math.log(at / a) / math.log(b / a) if logarithmic else (at - a) / (b - a)
            return low.value + (high.value - low.value) * share
    return table[-1][1].value
