"""iCaRL's rule (Rebuffi et al., CVPR 2017) over experience replay: a sample is of the class whose mean is nearest."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from edgecl.methods import ER, Needs
from edgecl.options import option
from edgecl.parsing import flag


class NearestMean(ER):
    """score_c = -|f - mu_c|^2 over the features; the means are those of the memory as each task ends.

    Until the first task ends there is no mean: the logits decide. From then on a class without one scores -inf.
    """

    name: ClassVar[str] = "nearest-mean-outside"
    contract: ClassVar[int] = 1
    scenarios: ClassVar[tuple[str, ...]] = ("task-il", "class-il", "domain-il")  # without ends of tasks no means

    normalise: bool = option(True, flag, "features and means of length 1")

    def __init__(self, **given):
        super().__init__(**given)
        self.means = np.zeros((0, 0), np.float32)  # [classes, features], NaN where a class has no sample

    @property
    def needs(self):
        return Needs(draws=1, predict=("features",), statistics=lambda features, classes: 4 * features * classes)

    def end_task(self, c):
        graph = c.engine.model.graph
        d = int(np.prod(graph.shapes[graph.features]))
        total, count = np.zeros((graph.classes, d)), np.zeros(graph.classes)
        for part in c.memory_samples(32):
            features = self.unit(c.evaluate(part.x, ("features",))["features"].reshape(len(part), d))
            np.add.at(total, part.y, features)
            np.add.at(count, part.y, 1)
        with np.errstate(invalid="ignore"):
            self.means = self.unit((total / count[:, None]).astype(np.float32))
        return ()

    def unit(self, rows):
        if not self.normalise:
            return rows
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)

    def scores(self, outs, seen_units=None):
        means = self.means  # of one moment: another thread may train
        if not means.size:
            return super().scores(outs, seen_units)
        features = self.unit(outs["features"].reshape(len(outs["features"]), -1))
        found = np.full((len(features), outs["logits"].shape[1]), -np.inf, np.float32)
        for unit in np.flatnonzero(~np.isnan(means[: found.shape[1]]).any(axis=1)):
            if seen_units is None or seen_units[unit]:
                found[:, unit] = -((features - means[unit]) ** 2).sum(axis=1)
        return found

    def state(self):
        return {"means": self.means}

    def load(self, state):
        self.means = np.array(state["means"], np.float32)
