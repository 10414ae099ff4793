"""Cost model: seconds and joules of a step on a device it does not run on. A roofline per operation.

    seconds(operation) = max(flops / (peak(threads) * gemm_efficiency(threads) * k), bytes / bandwidth)
    k                  = 1 dense; the profile's sparse efficiency at the density; its depthwise share
    seconds(step)      = sum over operations
    joules(step)       = power(threads) * seconds(step): the whole device, idle power included

The band is (low, high) factors on the seconds: published measurements on the device, or its like, divided by
this model. On Pi Zero 2 W, 3B+ and 4B ncnn's ResNet-18 inference lies at 0.6 to 1.3 of the model (below 1
where it uses Winograd), eager PyTorch's ResNet-18 training on Pi 4 and 5 at 1.6 to 2.6; depthwise networks
were not compared. Sparse figures are carried over from an x86 study, so a step's band widens with the share
of its time in sparse operations. Power was measured under integer loads; a matrix product draws up to 1.45
times as much (Pi 4: 7.2 W against 5.0 W).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import BadInput
from .profile import Profile

KINDS = ("dense", "sparse", "depthwise", "bandwidth")
SPARSE_BAND = 1.5  # assumed extra factor either way on a sparse operation


@dataclass(frozen=True)
class OperationCost:
    """One operation: ``flops`` = 2 x MACs over living weights, ``bytes`` moved to and from main memory.

    kind : 'dense', 'sparse' (with its ``density``), 'depthwise', or 'bandwidth' (no FLOP ceiling)
    """

    name: str
    flops: float
    bytes: float
    kind: str = "dense"
    density: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise BadInput(f"Operation '{self.name}' has the kind '{self.kind}'.", f"Use {', '.join(KINDS)}.")
        if not (self.flops >= 0 and self.bytes >= 0 and 0 < self.density <= 1):
            raise BadInput(
                f"Operation '{self.name}': flops {self.flops}, bytes {self.bytes}, density {self.density}.",
                "Give flops and bytes of 0 or more and a density in (0, 1].",
            )


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
    """Costs on ``profile`` with ``threads`` busy cores (1..its cores)."""

    def __init__(self, profile: Profile, threads: int = 1) -> None:
        self.profile, self.threads = profile, threads
        self._dense_rate = profile.peak_flops(threads) * profile.gemm_efficiency(threads)
        self._bandwidth = profile.bandwidth(threads)
        self._watts = profile.power(threads)

    def operation_seconds(self, cost: OperationCost) -> float:
        """Time of one operation."""
        memory = cost.bytes / self._bandwidth
        if cost.kind == "bandwidth":
            return memory
        factor = 1.0
        if cost.kind == "sparse":
            factor = self.profile.sparse_efficiency(cost.density)
        elif cost.kind == "depthwise":
            factor = self.profile.figures["kernels"]["depthwise"].value
        return max(cost.flops / (self._dense_rate * factor), memory)

    def step(self, costs: Sequence[OperationCost]) -> StepCost:
        """The cost of doing all of ``costs`` once, one after another."""
        times = [self.operation_seconds(c) for c in costs]
        seconds = sum(times)
        sparse = sum(t for t, c in zip(times, costs) if c.kind == "sparse")
        widen = 1 + (SPARSE_BAND - 1) * (sparse / seconds if seconds else 0.0)
        model = self.profile.figures["model"]
        band = (model["band_low"].value / widen, model["band_high"].value * widen)
        return StepCost(
            seconds=seconds,
            joules=None if self._watts is None else self._watts * seconds,
            bytes=sum(c.bytes for c in costs),
            band=band,
            joules_band=(band[0], band[1] * model["power_band_high"].value),
            label=f"modelled({self.profile.name})",
        )
