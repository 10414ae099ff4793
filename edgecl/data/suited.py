"""Options of a run that suit a stream of this kind and size, where nobody gives others."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from .cache import PlainDataset

BATCH, EPOCHS = 32, 10
IMAGE_DEFAULTS: dict[str, Any] = {"network": "cnn", "augment": "none", "batch": BATCH, "epochs": EPOCHS}
SIGNAL_DEFAULTS: dict[str, Any] = {**IMAGE_DEFAULTS, "network": "cnn1d"}
ROW_DEFAULTS: dict[str, Any] = {**IMAGE_DEFAULTS, "network": "mlp"}
SMALLEST_MAP = 4  # pixels or steps that 'cnn' and 'cnn1d' need
ENOUGH_STEPS = 250  # of a task: as in split-mnist5k (800 samples, 10 epochs), which the defaults were chosen on
MOST_EPOCHS = 100


def suited(data: PlainDataset) -> tuple[str, dict[str, Any]]:
    """(kind, run options) that suit samples of this shape."""
    _, h, w = data.samples.shape
    if h == w == 1:
        return "features", ROW_DEFAULTS
    if data.about.get("gate", {}).get("kind") == "sounds":
        return "signal", ROW_DEFAULTS  # of few voices, a network that pools over time learns hardly anything
    if h == 1:
        return "signal", SIGNAL_DEFAULTS if w >= SMALLEST_MAP else ROW_DEFAULTS
    return "image", IMAGE_DEFAULTS if min(h, w) >= SMALLEST_MAP else ROW_DEFAULTS


def enough_epochs(sizes: Sequence[int]) -> int:
    """Epochs over tasks of so many training samples, so that the middle one takes `ENOUGH_STEPS`: a network that starts
    from nothing needs steps, not epochs; with 80 samples a task ten epochs are 30 steps. Never fewer than `EPOCHS`,
    nor more than `MOST_EPOCHS`."""
    steps = -(-median(sizes) // BATCH)
    return int(min(max(-(-ENOUGH_STEPS // steps), EPOCHS), MOST_EPOCHS))
