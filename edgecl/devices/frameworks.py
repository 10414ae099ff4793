"""Other frameworks as cost families: what eager PyTorch and ncnn would take, on a device that nobody has at hand.

A family is a handful of terms, each in seconds by the profile's own figures, times constants fitted once over every
published row (`bench/cost_model.py`): no constant belongs to a model or to a device.

Eager PyTorch (1.13, 4 threads, Pi 4 and Pi 5, training; jafermarq/federated-embedded-vision)
    compute     FLOPs over the rate of a large matrix product, whatever the operation
    maps        every map that an operation reads or writes, once, over main-memory bandwidth. The constant is far
                above 1: eager operations run one by one, each writes freshly mapped pages, batch norm passes thrice
    conv_forward  the same for forward convolutions alone, on top: im2col, layout changes and padding move them several
                times, through pages that are mapped for it and live until the backward pass
    conv_backward  the same backward, where freed pages serve again: published steps of networks bound by their maps
                take 2.0 to 2.3 times a forward pass, those bound by products 2.8
    group_calls a grouped convolution without a kernel of its own runs group by group, at so much a group and clock
ncnn (fp32 arithmetic, 1 to 4 threads, inference; Tencent/ncnn benchmark table)
    winograd    FLOPs of 3x3 convolutions at stride 1, which Winograd's algorithm cuts to 4/9 or less
    compute     all other FLOPs
    maps        maps of operations that are not fused (normalisation and activation are)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .figures import Profile
from .workload import FORWARD, Operation

CALL_CYCLES = 1e5  # unit of the group_calls constant


@dataclass(frozen=True)
class Family:
    """``constants`` by term; ``band``: factors on the seconds that hold nine in ten of the rows left out of a fit.

    errors : of predictions of the published rows, ``fitted`` and ``left_out`` one network at a time: (rows, median of
        abs(predicted / published - 1), worst factor)
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


def _eager(work: Sequence[Operation], profile: Profile, threads: int) -> dict[str, float]:
    rate = profile.peak_flops(threads) * profile.gemm_efficiency(threads)
    bandwidth = profile.bandwidth(threads)
    flops = maps = calls = 0.0
    convs = {True: 0.0, False: 0.0}  # by whether forward
    for o in work:
        moved = o.read + o.written
        if o.kind == "norm":
            moved += o.read  # statistics first, then the values
        flops += 2 * o.macs
        maps += moved + o.weights
        if o.kind in ("conv", "pointwise", "depthwise"):
            convs[o.phase == FORWARD] += moved
        if o.groups > 1:
            calls += o.groups
    return {
        "compute": flops / rate,
        "maps": maps / bandwidth,
        "conv_forward": convs[True] / bandwidth,
        "conv_backward": convs[False] / bandwidth,
        "group_calls": calls * CALL_CYCLES / profile.clusters[0].ghz.value / 1e9,
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


_TERMS = {"eager PyTorch": _eager, "ncnn": _ncnn}

# Fitted by `python bench/cost_model.py --fit`, which a test repeats.
EAGER_TORCH = Family(
    "eager PyTorch",
    {"compute": 0.698, "maps": 5.58, "conv_forward": 23.0, "conv_backward": 4.56, "group_calls": 1.86},
    (0.66, 1.5),
    {"fitted": (24, 0.108, 1.41), "left_out": (24, 0.183, 1.49)},
)
NCNN = Family(
    "ncnn",
    {"winograd": 0.455, "compute": 0.814, "maps": 4.02},
    (0.63, 1.7),
    {"fitted": (44, 0.112, 1.72), "left_out": (44, 0.15, 1.9)},
)
