"""LabelMap: the user's labels and their head units."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..errors import BadInput

Label = str | int


class LabelMap:
    """Labels in the order of their units: a new label takes the next one."""

    def __init__(self, labels: Iterable[Label] = ()) -> None:
        self.labels: list[Label] = []
        self._units: dict[Label, int] = {}
        for label in labels:
            self.unit(label)

    def __len__(self) -> int:
        return len(self.labels)

    def unit(self, label: Label) -> int:
        """The label's unit; a new label gets one."""
        if label not in self._units:
            self._units[label] = len(self.labels)
            self.labels.append(label)
        return self._units[label]

    def units(self, y: Any, count: int) -> np.ndarray:
        """int64 [count] units of ``y``: one label for all, or one per sample. Refuses what is no label,
        before any is added."""
        return np.array([self.unit(v) for v in plain_labels(y, count)], np.int64)

    def with_those(self, labels: Iterable[Label]) -> int:
        """How many labels there will be once these are known."""
        return len(self) + len(set(labels) - self._units.keys())


def plain_labels(y: Any, count: int) -> list[Label]:
    """``y`` as [count] labels: one for all, or one each."""
    if isinstance(y, np.ndarray) and y.ndim == 0:
        y = y[()]
    one = isinstance(y, (str, int, np.integer)) and not isinstance(y, (bool, np.bool_))
    values = [y] * count if one else list(y) if isinstance(y, (list, tuple, np.ndarray)) else None
    if values is None:
        raise BadInput(f"The label {y!r} is a {type(y).__name__}.", "Use text or whole numbers as labels.")
    if len(values) != count:
        raise BadInput(f"{count} samples came with {len(values)} labels.", "Give one label per sample.")
    return [plain_label(v, i) for i, v in enumerate(values)]


def plain_label(value: Any, place: int) -> Label:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (str, int, np.integer)):
        raise BadInput(f"Label {place} is {value!r}.", "Use text or whole numbers as labels.")
    return str(value) if isinstance(value, str) else int(value)
