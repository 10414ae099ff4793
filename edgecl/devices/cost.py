"""Cost model: seconds, joules and bytes of a step on a device it does not run on.

Our engine: the sum over operations of `kernel_rates`, plus the update and a fixed part a step. Rates that were carried
over from another machine are held to what memory allows here: an operation moves each of its maps and weights once at
least (`floor_seconds`), and threads gain what they gain in a large matrix product. Eager PyTorch and ncnn:
`frameworks`. Joules are power(threads) * seconds: the whole device, idle power included. A device that is hot runs at
its profile's ``sustained`` share of full speed.

The band is (low, high): factors on the seconds within which the true value is expected. On a calibrated machine it is
the spread of steps measured there and left out of the calibration. Elsewhere nobody has measured our engine: kernel
rates are carried over (`Profile.kernels`), and the band is assumed as wide as the profile says. Power was measured
under integer loads; a matrix product draws more (``power_band_high``).

A long run slows as the device warms (`warmed`). Its joules are those of cool steps: a throttled core runs at a lower
voltage, and idle power is drawn for longer; which of the two weighs more is not known for these devices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..compiler.compile import LANE_COST, choose_lanes
from .figures import Profile
from .frameworks import Family
from .kernel_rates import classify
from .workload import FORWARD, Operation

GRADIENTS = 2.5  # bytes of maps and of their gradients, over those of maps


@dataclass(frozen=True)
class StepCost:
    """seconds, joules (None when the device's power is not known) and bytes of a step.

    band, joules_band : (low, high) factors within which the true value is expected
    label : 'modelled(<profile>)'
    """

    seconds: float
    joules: float | None
    bytes: float
    band: tuple[float, float]
    joules_band: tuple[float, float]
    label: str
    source: str = "modelled"


class CostModel:
    """Costs on ``profile`` with ``threads`` busy cores (1..its cores).

    family : None for our engine, or `EAGER_TORCH`, `LATER_TORCH`, `NCNN`
    hot : after long load, where the profile knows what it then sustains
    """

    def __init__(self, profile: Profile, threads: int = 1, family: Family | None = None, hot: bool = False) -> None:
        self.profile, self.threads, self.family = profile, threads, family
        sustained = profile.figure("thermal", "sustained")
        self.speed = sustained.value if hot and sustained is not None else 1.0
        self._rate = profile.peak_flops(threads) * profile.parallel(threads)
        self._share = (threads - 1) / max(profile.cores - 1, 1)

    def step(self, work: Sequence[Operation]) -> StepCost:
        """The cost of doing all of ``work`` (`workload.operations`) once."""
        profile = self.profile
        if self.family is not None:
            seconds, band = self.family.seconds(work, profile, self.threads), self.family.band
        else:
            model = profile.figures["model"]
            band = model["band_low"].value, model["band_high"].value
            space, touched = working_set(work), footprint(work)
            seconds = sum(self.operation_seconds(o, touched if o.kind == "optimizer" else space) for o in work)
            if work:
                seconds += profile.figures["kernels"]["step_seconds"].value
            if seconds and not self.measured:
                band = max(band[0], min(1.0, self.floor_seconds(work) / seconds)), band[1]
        seconds /= self.speed
        watts = profile.power(self.threads)
        return StepCost(
            seconds=seconds,
            joules=None if watts is None else watts * seconds,
            bytes=sum(o.bytes for o in work),
            band=band,
            joules_band=(band[0], band[1] * profile.figures["model"]["power_band_high"].value),
            label=f"modelled({profile.name})",
        )

    @property
    def measured(self) -> bool:
        """Whether our kernels were timed on this device."""
        return all(r.mark == "measured" for r in self.profile.kernels.values())

    def floor_seconds(self, work: Sequence[Operation]) -> float:
        """Bytes that ``work`` must move, each map and weight once a pass, over the bandwidth of main memory; what the
        next convolution takes along moves nothing."""
        return sum(o.bytes for o in work if not o.absorbed) / self.profile.bandwidth(self.threads)

    def operation_seconds(self, operation: Operation, space: float | None = None) -> float:
        """Time of one operation of our engine in a step with maps of ``space`` bytes (an update: its footprint)."""
        o = operation
        kind, phase = classify(o)
        bandwidth = self.profile.bandwidth(self.threads, space)
        fixed = self.profile.figures["kernels"]
        if kind == "update":
            traffic = fixed["update_traffic"]
            if o.density < 1:  # its lists' values are refreshed too, in another order
                traffic = fixed.get("sparse_update_traffic", traffic)
            return o.bytes * max(traffic.value, 1.0) / bandwidth + fixed["tensor_seconds"].value
        if o.absorbed:
            return 0.0
        if kind == "feed":
            least = 0.0 if self.measured else o.bytes / bandwidth
            return max(o.written / fixed["feed_bytes_per_s"].value, least)
        rates = self.profile.kernels[kind, phase]
        work = (o.read + o.written) if kind in ("maps", "pool") else o.flops
        lanes = vectors(o.rows, self.profile.lanes) if kind == "pool" else padding(o.rows, self.profile.lanes)
        compute = lanes * work * rates.reciprocal(kind, o.density, o.positions)
        start = rates.start[0] + (rates.start[1] - rates.start[0]) * self._share
        moved = o.bytes / bandwidth
        seconds = compute / self._rate + rates.traffic * moved
        return (seconds if rates.mark == "measured" else max(seconds, moved)) + start


def warmed(profile: Profile, seconds: float) -> float:
    """Seconds that work takes from a cool start, which at full speed would take ``seconds``.

    Speed falls from 1 to the profile's ``sustained`` share s with its time constant tau: s + (1 - s) exp(-t / tau),
    what a first-order thermal circuit with a governor at its limit does. Its integral to the answer is ``seconds``.
    """
    sustained, constant = (profile.figure("thermal", n) for n in ("sustained", "time_constant_s"))
    if sustained is None or constant is None or sustained.value >= 1:
        return seconds
    s, tau = sustained.value, constant.value
    t = seconds / s
    for _ in range(50):  # Newton from above on a concave integral: it never overshoots
        done = s * t + (1 - s) * tau * -math.expm1(-t / tau)
        t -= (done - seconds) / (s + (1 - s) * math.exp(-t / tau))
    return t


def working_set(work: Sequence[Operation]) -> float:
    """Bytes of the maps that a step writes forward and needs again."""
    return max(sum(o.written for o in work if o.phase == FORWARD), 1.0)


def footprint(work: Sequence[Operation]) -> float:
    """Bytes that a step touches before it comes to the same place again: maps, their gradients, what is updated."""
    return GRADIENTS * working_set(work) + sum(o.bytes for o in work if o.kind == "optimizer")


def padding(rows: int, widest: int) -> float:
    """Time of a sample against that in full vectors of ``widest`` lanes, as `compile_plan` weighs narrower ones."""
    widths = _widths(widest)
    return min(math.ceil(rows / w) * w * LANE_COST[w] for w in widths) / (rows * LANE_COST[widths[0]])


def vectors(rows: int, widest: int) -> float:
    """The same of a pooling: a vector takes its time however few lanes it has."""
    widths = _widths(widest)
    return math.ceil(rows / choose_lanes(rows, widths)) * widths[0] / rows


def _widths(widest: int) -> list[int]:
    return [w for w in LANE_COST if w <= max(widest, 4)]
