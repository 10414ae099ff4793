"""The dense gradient of a whole step, summed over the backward passes that a visit sees."""

import numpy as np


class DenseSums:
    """sums : float32 by name, of the tensor's shape; ``begin`` before a step's first forward."""

    def __init__(self, engine, names):
        self._engine = engine
        self.sums = {n: np.zeros(engine.model[n].spec.shape, np.float32) for n in names}

    def begin(self):
        for array in self.sums.values():
            array[...] = 0
        self._engine.visit_dense_gradients(tuple(self.sums), self._add)

    def _add(self, name, rows, block):
        self.sums[name][rows.start : rows.stop] += block
