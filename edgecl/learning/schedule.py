"""The learning rate over a task."""

from __future__ import annotations

import math

from ..config import Config
from ..sparsity import StepInfo


def learning_rate(config: Config, info: StepInfo) -> float:
    """Of the step that ``info`` describes. ``cosine``: from `lr` at a task's first step towards 0 at its last
    (Loshchilov & Hutter, ICLR 2017, one period a task); training without a planned end keeps it constant.
    """
    if config.lr_schedule == "constant" or not info.steps:
        return config.rate
    return config.rate * 0.5 * (1 + math.cos(math.pi * min(1.0, info.step / info.steps)))
