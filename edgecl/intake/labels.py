"""LabelMap: the user's labels and their head units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import BadInput
from ..storage.trusted import require

Array = np.ndarray
Label = str | int


class LabelMap:
    """Labels in the order of their units: a new label takes the next one. Two units of one label are predicted alike,
    the first of them is what its samples have; a unit without one, None, is of a label that was removed.

    labels : of each unit;  plain : whether each unit has a label of its own
    sole : {unit: subject} where every sample that had the label is of one subject;  changes : so often it changed
    """

    def __init__(self, labels: Iterable[Label | None] = (), sole: Mapping[int, int] | None = None) -> None:
        self.labels: list[Label | None] = list(labels)
        self.sole = dict(sole or {})
        self.changes = 0
        self._units: dict[Label, int] = {}
        for unit, label in enumerate(self.labels):
            if label is not None:
                self._units.setdefault(label, unit)
        self.plain = len(self._units) == len(self.labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __contains__(self, label: object) -> bool:
        return label in self._units

    @property
    def distinct(self) -> tuple[Label, ...]:
        """Labels in the order of their first units."""
        return tuple(self._units)

    def columns(self) -> np.ndarray:
        """int64 [units]: each unit's place in `distinct`; -1 for one without a label."""
        labels = list(self.labels)  # others may be added meanwhile
        places = {label: at for at, label in enumerate(tuple(self._units))}
        return np.array([-1 if label is None else places[label] for label in labels], np.int64)

    def unit(self, label: Label) -> int:
        """The label's unit; a new label gets one."""
        if label not in self._units:
            self._units[label] = len(self.labels)
            self.labels.append(label)
            self.changes += 1
        return self._units[label]

    def known(self, label: Label) -> int:
        """The unit of a label that was observed. Raises `BadInput`."""
        if label not in self._units:
            raise BadInput(f"No sample has the label {label!r}.", "See the learner's labels.")
        return self._units[label]

    def units(self, y: Any, count: int) -> np.ndarray:
        """int64 [count] units of ``y``: one label for all, or one per sample, -1 for None. Refuses what is no label,
        before any is added."""
        return np.array([-1 if v is None else self.unit(v) for v in plain_labels(y, count)], np.int64)

    def used_by(self, units: Array, subjects: Array, new: int) -> None:
        """Samples of ``subjects`` [n], -1 for nobody's, have the labels of ``units`` [n]; those from ``new`` on had no
        sample before."""
        if not self.sole and (len(self) == new or (subjects < 0).all()):
            return
        people: dict[int, set[int]] = {}
        for unit, subject in zip(units.tolist(), subjects.tolist()):
            people.setdefault(unit, set()).add(subject)
        for unit, who in people.items():
            one = who.pop() if len(who) == 1 else -1
            if unit >= new and one >= 0:
                self.sole[unit] = one
                self.changes += 1
            elif unit < new and self.sole.get(unit, one) != one:
                self._share(self.labels[unit])

    def _share(self, label: Label | None) -> None:
        """A label is nobody's alone any more."""
        for unit in [u for u in self.sole if self.labels[u] == label]:
            del self.sole[unit]
        self.changes += 1

    def with_those(self, labels: Iterable[Label | None]) -> int:
        """How many units there will be once these are known."""
        return len(self) + len(set(labels) - self._units.keys() - {None})

    def renamed(self, old: Label, new: Label) -> LabelMap:
        """These labels with ``new`` for ``old``, which may be one that is known."""
        names = [new if label == old and type(label) is type(old) else label for label in self.labels]
        found = LabelMap(names, self.sole)
        if len({self.sole.get(unit) for unit, label in enumerate(names) if label == new}) > 1:
            found._share(new)
        return found

    def without(self, label: Label) -> LabelMap:
        """These labels without one; its units stay, and mean nothing."""
        return LabelMap([None if known == label else known for known in self.labels], self.sole)

    def first(self, count: int) -> LabelMap:
        """The labels of so many units."""
        return LabelMap(self.labels[:count], {unit: one for unit, one in self.sole.items() if unit < count})

    def without_subject(self, subject: int) -> LabelMap:
        """These labels without those that only its samples had."""
        names = [None if self.sole.get(unit) == subject else label for unit, label in enumerate(self.labels)]
        return LabelMap(names, {unit: one for unit, one in self.sole.items() if one != subject})


def sole_of(state: Mapping[str, Any], names: Sequence[Label | None]) -> dict[int, int]:
    """`LabelMap.sole` of a saved state with these labels, of this version or an earlier one. Raises `BadRecord`."""
    pairs = np.array(state.get("sole_labels", ()))
    fits = not pairs.size or (pairs.dtype.kind in "iu" and pairs.ndim == 2 and pairs.shape[1] == 2)
    require(fits, "'sole_labels' are no pairs")
    low, high = (pairs.min(axis=0), pairs.max(axis=0)) if pairs.size else ((0, 0), (0, 0))
    within = not pairs.size or (min(low) >= 0 and high[0] < len(names) and high[1] < 2**31)
    require(within, "'sole_labels' are out of bounds")
    return {int(unit): int(subject) for unit, subject in pairs}


def plain_labels(y: Any, count: int) -> list[Label | None]:
    """``y`` as [count] labels: one for all, or one each; None is a label to come."""
    if isinstance(y, np.ndarray) and y.ndim == 0:
        y = y[()]
    one = y is None or (isinstance(y, (str, int, np.integer)) and not isinstance(y, (bool, np.bool_)))
    values: Sequence[Any] | None = (
        [y] * count if one else list(y) if isinstance(y, (list, tuple, np.ndarray)) else None
    )
    if values is None:
        raise BadInput(f"The label {y!r} is a {type(y).__name__}.", "Use text or whole numbers as labels.")
    if len(values) != count:
        raise BadInput(f"{count} samples came with {len(values)} labels.", "Give one label per sample.")
    return [None if v is None else plain_label(v, i) for i, v in enumerate(values)]


def plain_label(value: Any, place: int | None = None) -> Label:
    """Text or a whole number as a label. Raises `BadInput`."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (str, int, np.integer)):
        which = "The label" if place is None else f"Label {place}"
        raise BadInput(f"{which} is {value!r}.", "Use text or whole numbers as labels.")
    return str(value) if isinstance(value, str) else int(value)
