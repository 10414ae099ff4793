"""Calibration: between which values the latents of a cut lie, over samples of one's own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import BadInput
from ..graph.cut import check_cut
from ..network import Network
from .backbone import folded_prefix
from .executors.native import Native

Array = np.ndarray
LEAST = 8  # samples


def calibrated(network: Network, cut: str, samples: Array) -> Network:
    """The network with the range of each channel of the tensor ``cut`` over raw ``samples`` [n, *input]: `Backbone`
    makes the scales of its latents from it. It is kept in the network's file; ``cut`` becomes the usual place to cut.

    Raises `BadInput` for samples that the network does not take.
    """
    check_cut(network.graph, cut)
    graph = network.graph
    form = (graph.input_shape, graph.input_dtype)
    if samples.ndim != 1 + len(form[0]) or (samples.shape[1:], samples.dtype.name) != form or len(samples) < LEAST:
        raise BadInput(
            f"{samples.dtype} samples {samples.shape} do not calibrate '{graph.name}', which takes {form[1]} of "
            f"{form[0]}.",
            f"Give at least {LEAST} such samples.",
        )
    run = Native()
    run.open(folded_prefix(network, cut))
    low = high = None
    for sample in samples:
        values = run(np.ascontiguousarray(sample[None]))[0]
        flat = values.reshape(len(values), -1)
        low = flat.min(1) if low is None else np.minimum(low, flat.min(1))
        high = flat.max(1) if high is None else np.maximum(high, flat.max(1))
    assert low is not None and high is not None
    if not np.isfinite([low, high]).all():
        raise BadInput("Latents of these samples are not finite.", "Calibrate on other samples.")
    held = network.about.get("latents")
    latents = {**(held if isinstance(held, dict) else {}), cut: _figures(low, high, len(samples))}
    return replace(network, about={**network.about, "latents": latents, "cut": cut})


def _figures(low: Array, high: Array, count: int) -> dict[str, object]:
    return {
        "low": [float(f"{v:.6g}") for v in low], "high": [float(f"{v:.6g}") for v in high], "samples": count,
    }  # fmt: skip
