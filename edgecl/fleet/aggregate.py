"""Mean: of many devices' weights, each over those devices where it lives; sums of features added up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .model import Array, FleetModel, Label, Schema, Sums, label_order, on_pattern


class ExactSum:
    """Sums of float64 with about 106 bits (Knuth's two-sum): what comes out does not depend on the order.

    high, low : their sum is the sum
    """

    def __init__(self, shape: Any) -> None:
        self.high, self.low = np.zeros(shape), np.zeros(shape)

    def add(self, values: Array) -> None:
        high = self.high + values
        back = high - self.high
        self.low += (self.high - (high - back)) + (values - back)
        self.high = high

    def moved(self, pattern: Array, wanted: Array) -> None:
        """The same over other positions."""
        self.high, self.low = (on_pattern(a, pattern, wanted) for a in (self.high, self.low))

    def total(self) -> Array:
        return self.high + self.low


class Mean:
    """New values from updates of one round: sum(w v) / sum(w) over the devices where a weight lives; where nobody has
    it, the base's. One update is held at a time; what is kept grows with the patterns' union, not with the devices.
    Sums of features do not come here: see `FeatureSums`.

    replies, samples : so far
    """

    def __init__(self, schema: Schema) -> None:
        self.schema, self.replies, self.samples = schema, 0, 0
        self._patterns: dict[str, Array] = {}
        self._sums: dict[str, ExactSum] = {}
        self._weights: dict[str, Array] = {}
        self._rows: dict[str, dict[Label, ExactSum]] = {t.name: {} for t in schema.of("head")}
        self._row_weights: dict[Label, float] = {}

    def add(self, model: FleetModel, weight: int, samples: int = 0, rows: Sequence[int] | None = None) -> None:
        """One device's weights, checked by the codec; ``weight`` at least 1. rows: what each head row weighs instead: a
        device that has hardly a sample of a label has hardly a say in it.
        """
        w = float(weight)
        of_rows = [w] * len(model.labels) if rows is None else [float(r) for r in rows]
        for t in self.schema.tensors:
            values = model.values[t.name].astype(np.float64)
            if t.kind == "head":
                for label, row, v in zip(model.labels, values.reshape(len(model.labels), t.size), of_rows):
                    if v:
                        self._rows[t.name].setdefault(label, ExactSum(t.size)).add(v * row)
                continue
            if t.name not in self._sums:
                self._patterns[t.name] = model.patterns.get(t.name, np.zeros(0, np.int32))
                self._sums[t.name], self._weights[t.name] = ExactSum(values.size), np.zeros(values.size)
            elif t.kind == "sparse" and not np.array_equal(self._patterns[t.name], model.patterns[t.name]):
                values = self._widen(t.name, model.patterns[t.name], values)
                lives = np.isin(self._patterns[t.name], model.patterns[t.name], assume_unique=True)
                self._sums[t.name].add(w * values)
                self._weights[t.name] += w * lives
                continue
            self._sums[t.name].add(w * values)
            self._weights[t.name] += w
        for label, v in zip(model.labels, of_rows):
            if v:
                self._row_weights[label] = self._row_weights.get(label, 0.0) + v
        self.replies += 1
        self.samples += samples

    def _widen(self, name: str, pattern: Array, values: Array) -> Array:
        """Sums over the union with ``pattern``; its values there, 0 elsewhere."""
        old = self._patterns[name]
        union = np.union1d(old, pattern).astype(np.int32)
        if union.size != old.size:
            self._sums[name].moved(old, union)
            self._weights[name] = on_pattern(self._weights[name], old, union)
            self._patterns[name] = union
        return on_pattern(values, pattern, self._patterns[name])

    def finish(self, base: FleetModel) -> FleetModel:
        """The new model: patterns are the union of the base's and the devices', labels the base's, then new ones in
        `label_order`. float32.
        """
        values: dict[str, Array] = {}
        patterns: dict[str, Array] = {}
        for t in self.schema.tensors:
            if t.kind == "head":
                continue
            old, weights = base.values[t.name], self._weights[t.name]
            found = np.divide(self._sums[t.name].total(), weights, out=np.zeros(weights.size), where=weights > 0)
            if t.kind == "sparse":
                mine, there = self._patterns[t.name], base.patterns[t.name]
                if not np.array_equal(mine, there):
                    union = np.union1d(mine, there).astype(np.int32)
                    found, weights = on_pattern(found, mine, union), on_pattern(weights, mine, union)
                    old, there = on_pattern(old, there, union), union
                patterns[t.name] = there
            values[t.name] = np.where(weights > 0, found, old).astype(np.float32)
        labels = (*base.labels, *label_order(set(self._row_weights) - set(base.labels)))
        for t in self.schema.of("head"):
            values[t.name] = self._head(t.name, t.size, base, labels)
        values = {t.name: values[t.name] for t in self.schema.tensors}
        return FleetModel(self.schema, labels, values, patterns, base.sums)

    def _head(self, name: str, size: int, base: FleetModel, labels: tuple[Label, ...]) -> Array:
        rows = np.zeros((len(labels), size), np.float32)
        rows[: len(base.labels)] = base.values[name].reshape(len(base.labels), size)
        for i, label in enumerate(labels):
            if label in self._rows[name]:
                rows[i] = self._rows[name][label].total() / self._row_weights[label]
        return rows.reshape(-1)


class FeatureSums:
    """Counts and sums of features of all devices by label, added up exactly: as if one device had seen all."""

    def __init__(self, schema: Schema) -> None:
        assert schema.sums is not None
        self._width, self._second = schema.sums[0], ExactSum(schema.second_size)
        self._counts: dict[Label, float] = {}
        self._sums: dict[Label, ExactSum] = {}

    def add(self, labels: tuple[Label, ...], sums: Sums) -> None:
        for label, count, row in zip(labels, sums.counts, sums.sums):
            self._counts[label] = self._counts.get(label, 0.0) + float(count)
            self._sums.setdefault(label, ExactSum(self._width)).add(row)
        self._second.add(sums.second)

    def total(self, labels: tuple[Label, ...]) -> Sums:
        counts = np.array([self._counts.get(label, 0.0) for label in labels])
        rows = [self._sums[label].total() if label in self._sums else np.zeros(self._width) for label in labels]
        return Sums(counts, np.array(rows).reshape(len(labels), self._width), self._second.total())
