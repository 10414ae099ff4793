"""ER with an asymmetric cross-entropy (Caccia et al., ICLR 2022)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..options import option
from ..parsing import choice
from .base import Term
from .batch import Array, Batch, Replay
from .context import Context
from .er import ER
from .losses import cross_entropy


class ERACE(ER):
    """CE of current rows over the classes of their batch and those never seen, plus CE of replayed rows over all.

    New classes compete among themselves only, so they do not push the old ones away. Mammoth's form has a cosine head
    (scale 10, no bias); with a linear one nothing raises the newest classes above the replayed.

    replay_from : ``second step``, as soon as the memory holds something (Mammoth's ``task_free``); or ``second task``,
                  plain cross-entropy in the first task (Mammoth's default)
    beta : weight of the replay term, 1 by default
    """

    name: ClassVar[str] = "er-ace"
    reference: ClassVar[str] = "Caccia et al., ICLR 2022"

    replay_from: str = option(
        "second step", choice(("second step", "second task")), "when replay and the masked cross-entropy begin"
    )

    def term_weights(self, batch: Batch, replay: Replay) -> tuple[float, list[float]]:
        return 1.0, [1.0 if self.beta is None else self.beta] * len(replay)

    def current_term(self, logits: Array, part: Batch, whole: Batch) -> Term:
        if self.replay_from == "second task" and whole.task == 0:
            return super().current_term(logits, part, whole)
        units = np.zeros(logits.shape[1], bool)
        units[whole.y if whole.y.ndim == 1 else np.flatnonzero(whole.y.any(axis=0))] = True
        if whole.seen_units is not None:
            units |= ~whole.seen_units
        return cross_entropy(logits, part.y, units, count=len(whole))

    def prepare(self, c: Context, batch: Batch, replay: Replay) -> tuple[Batch, Replay]:
        return batch, [] if self.replay_from == "second task" and batch.task == 0 else replay
