"""ER-ACE (Caccia et al., ICLR 2022): the current cross-entropy sees only the classes of the batch and those not yet
learned, so that new classes do not push old ones away."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from edgecl.methods import ER, cross_entropy
from edgecl.options import option
from edgecl.parsing import real


class ERACE(ER):
    """Asymmetric cross-entropy: current rows over the batch's classes and unseen ones, replayed rows over all."""

    name: ClassVar[str] = "ace"
    contract: ClassVar[int] = 1

    tau: float = option(1.0, real(0.0, True), "weight of the current cross-entropy")

    def term_weights(self, batch, replay):
        return self.tau, [1.0] * len(replay)

    def current_term(self, logits, part, whole):
        units = np.zeros(logits.shape[1], bool)
        units[whole.y] = True
        if whole.seen_units is not None:
            units |= ~whole.seen_units
        return cross_entropy(logits, part.y, units, count=len(whole))
