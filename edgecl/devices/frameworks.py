"""Other frameworks as cost families: what eager PyTorch and ncnn would take, on a device that nobody has at hand.

A family is a handful of terms, each in seconds by the profile's own figures, times constants fitted once over every
published row (`bench/cost_model.py`): no constant belongs to a model or to a device.

Eager PyTorch (1.13, 4 threads, Pi 4 and Pi 5, training; jafermarq/federated-embedded-vision)
    compute     FLOPs over the rate of a large matrix product, whatever the operation
    maps        every map that an operation reads or writes, once, over main-memory bandwidth. The constant is far
                above 1: eager operations run one by one, batch norm passes thrice
    fresh       a block above 32 MiB is mapped anew each time it is made (glibc malloc, M_MMAP_THRESHOLD), and the
                system clears its pages: bytes of such maps, and of such columns of a k x k convolution (its input
                unfolded, k x k values for each), at so many cycles each, instead of their traffic. On an x86-64
                machine too a step's page faults appear where maps pass that size, at 2 to 3 cycles a byte
    conv_forward  maps of forward convolutions, on top: layout changes and padding move them several times
    group_calls a grouped convolution runs group by group, at so much a group and clock: forward, and backward once
                for the gradients of input and weights together. Depthwise 3x3 forwards at stride 1 are not among
                them: they have a kernel of their own (ATen's and NNPACK's Winograd)
ncnn (fp32 arithmetic, 1 to 4 threads, inference; Tencent/ncnn benchmark table)
    winograd    FLOPs of 3x3 convolutions at stride 1, which Winograd's algorithm cuts to 4/9 or less
    compute     all other FLOPs
    maps        maps of operations that are not fused (normalisation and activation are)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from .figures import Profile
from .workload import FLOAT, FORWARD, UPDATE, WEIGHT, Operation

CALL_CYCLES = 1e5  # unit of the group_calls constant
Terms = Callable[[Sequence[Operation], Profile, int], dict[str, float]]
FRESH = 32 << 20  # bytes of a block above which malloc maps it anew


@dataclass(frozen=True)
class Family:
    """``constants`` by term; ``band``: factors on the seconds that hold nine in ten of the rows left out of a fit.

    errors : of predictions of the published rows, ``fitted``, ``left_out`` one network at a time and ``board_left_out``
        one board at a time: (rows, median of abs(predicted / published - 1), worst factor)
    """

    name: str
    constants: dict[str, float]
    band: tuple[float, float]
    errors: dict[str, tuple[int, float, float]]

    def terms(self, work: Sequence[Operation], profile: Profile, threads: int) -> np.ndarray:
        """Seconds of each term at a constant of 1, in the order of ``constants``."""
        found = _TERMS[self.name](work, profile, threads)
        return np.array([found[name] for name in self.constants])

    def seconds(self, work: Sequence[Operation], profile: Profile, threads: int) -> float:
        return float(self.terms(work, profile, threads) @ np.array(list(self.constants.values())))


def _eager(work: Sequence[Operation], profile: Profile, threads: int, unfolds: bool = True) -> dict[str, float]:
    rate = profile.peak_flops(threads) * profile.gemm_efficiency(threads)
    bandwidth, clock = profile.bandwidth(threads), profile.clusters[0].ghz.value * 1e9
    flops = maps = fresh = forward = calls = 0.0
    for o in work:
        flops += 2 * o.macs
        maps += o.weights
        if o.written > FRESH and o.phase != UPDATE:
            fresh += o.written
        else:
            maps += o.read + o.written + (o.read if o.kind == "norm" else 0)  # statistics first, then the values
        if o.kind in ("conv", "pointwise", "depthwise") and o.phase == FORWARD:
            forward += o.read + o.written
        columns = FLOAT * o.reduction * o.positions * o.rows if unfolds and o.kind == "conv" else 0
        if columns > FRESH:
            fresh += columns
        if o.groups > 1 and o.phase != WEIGHT and not (o.phase == FORWARD and o.area == 9 and o.stride == 1):
            calls += o.groups
    return {
        "compute": flops / rate,
        "maps": maps / bandwidth,
        "fresh": fresh / clock,
        "conv_forward": forward / bandwidth,
        "group_calls": calls * CALL_CYCLES / clock,
    }


def _ncnn(work: Sequence[Operation], profile: Profile, threads: int) -> dict[str, float]:
    rate = profile.peak_flops(threads) * profile.gemm_efficiency(threads)
    winograd = other = maps = 0.0
    for o in work:
        if o.phase != FORWARD:
            continue
        if o.kind == "conv" and o.area == 9 and o.stride == 1:
            winograd += 2 * o.macs
        else:
            other += 2 * o.macs
        if o.kind not in ("norm", "activation"):
            maps += o.read + o.written
    return {"winograd": winograd / rate, "compute": other / rate, "maps": maps / profile.bandwidth(threads)}


_TERMS: dict[str, Terms] = {
    "eager PyTorch": _eager, "later eager PyTorch": partial(_eager, unfolds=False), "ncnn": _ncnn,
}  # fmt: skip

# Fitted by `python bench/cost_model.py --fit`, which a test repeats.
EAGER_TORCH = Family(
    "eager PyTorch",
    {"compute": 0.664, "maps": 6.2, "fresh": 2.11, "conv_forward": 19.8, "group_calls": 5.4},
    (0.66, 1.5),
    {"fitted": (32, 0.054, 1.28), "left_out": (32, 0.075, 1.35), "board_left_out": (32, 0.172, 1.37)},
)
# Releases since then do not unfold a whole batch: what pages compare with, so as not to flatter us.
LATER_TORCH = replace(EAGER_TORCH, name="later eager PyTorch")
NCNN = Family(
    "ncnn",
    {"winograd": 0.455, "compute": 0.814, "maps": 4.02},
    (0.63, 1.7),
    {"fitted": (44, 0.112, 1.72), "left_out": (44, 0.15, 1.9), "board_left_out": (44, 0.15, 1.82)},
)
