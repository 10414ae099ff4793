"""FleetModel: what a fleet shares: living weights and patterns by tensor, head rows by label, sums of features."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import BadInput

Array = np.ndarray
Label = str | int
MOST_LABELS, LONGEST_LABEL = 4096, 128
MOST_SIZE = 1 << 31  # weights of a tensor: positions are int32


@dataclass(frozen=True)
class Tensor:
    """One tensor that travels.

    shape : in full; of a head without the axis of classes
    kind : ``dense``; ``sparse``, of which only some weights live; ``head``, with a row a label
    """

    name: str
    shape: tuple[int, ...]
    kind: str

    @property
    def size(self) -> int:
        """Weights in full; of a head, those of one row."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Schema:
    """Tensors of a network that travel, in graph order; the same on every device of a fleet.

    sums : (width, second): sums of features of so many numbers travel too, with the second moment or without; or None
    """

    tensors: tuple[Tensor, ...]
    sums: tuple[int, bool] | None = None

    def of(self, kind: str) -> tuple[Tensor, ...]:
        return tuple(t for t in self.tensors if t.kind == kind)

    @property
    def digest(self) -> str:
        """64 hex digits over names, shapes and kinds."""
        return hashlib.sha256(json.dumps(self.to_json()).encode()).hexdigest()

    @property
    def second_size(self) -> int:
        """Numbers of a packed second moment: the upper triangle."""
        return self.sums[0] * (self.sums[0] + 1) // 2 if self.sums is not None and self.sums[1] else 0

    def to_json(self) -> dict[str, Any]:
        return {
            "tensors": [[t.name, list(t.shape), t.kind] for t in self.tensors],
            "sums": None if self.sums is None else list(self.sums),
        }

    @staticmethod
    def from_json(found: Any) -> Schema:
        """The inverse of `to_json`, for what was read from a file. Raises `BadInput`."""
        try:
            tensors = tuple(Tensor(str(n), tuple(shape), str(kind)) for n, shape, kind in found["tensors"])
            sums = None if found["sums"] is None else (found["sums"][0], bool(found["sums"][1]))
            numbers = [d for t in tensors for d in t.shape] + ([] if sums is None else [sums[0]])
            good = all(type(d) is int and 0 < d < MOST_SIZE for d in numbers)
            good &= all(t.kind in ("dense", "sparse", "head") and t.size < MOST_SIZE for t in tensors)
            if not good or len({t.name for t in tensors}) != len(tensors):
                raise ValueError("a shape or a kind is none")
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise BadInput(f"The fleet's list of tensors cannot be read: {error}.", "Make it again.") from error
        return Schema(tensors, sums)


@dataclass
class Sums:
    """Sums of features by label, float64: counts [L], sums [L, d], second [d (d + 1) / 2] or empty."""

    counts: Array
    sums: Array
    second: Array


@dataclass
class FleetModel:
    """Values of the living weights.

    labels : of the head's rows, in the order of the rows
    values : by tensor: [living], of a head [labels * row]; float32, or float64 where they were decoded from differences
    patterns : of each sparse tensor, int32 [living] sorted flat positions
    sums : of a closed-form head, by label, or None
    """

    schema: Schema
    labels: tuple[Label, ...] = ()
    values: dict[str, Array] = field(default_factory=dict)
    patterns: dict[str, Array] = field(default_factory=dict)
    sums: Sums | None = None

    @property
    def digest(self) -> str:
        """64 hex digits over tensors, labels, patterns and values (as float32): the same on every machine."""
        sha = hashlib.sha256(self.schema.digest.encode() + json.dumps(list(self.labels)).encode())
        for t in self.schema.tensors:
            if t.kind == "sparse":
                sha.update(np.ascontiguousarray(self.patterns[t.name], "<i4").data)
            sha.update(np.ascontiguousarray(self.values[t.name], "<f4").data)
        return sha.hexdigest()

    @property
    def pattern_digest(self) -> str:
        """64 hex digits over the patterns."""
        sha = hashlib.sha256(self.schema.digest.encode())
        for t in self.schema.of("sparse"):
            sha.update(np.ascontiguousarray(self.patterns[t.name], "<i4").data)
        return sha.hexdigest()

    @property
    def living(self) -> dict[str, int]:
        """Living weights of each sparse tensor."""
        return {t.name: int(self.patterns[t.name].size) for t in self.schema.of("sparse")}

    def rounded(self) -> FleetModel:
        """The same with float32 values."""
        values = {n: v.astype(np.float32) for n, v in self.values.items()}
        return FleetModel(self.schema, self.labels, values, dict(self.patterns), self.sums)

    def with_labels(self, wanted: Iterable[Label]) -> FleetModel:
        """The same with head rows of only those ``wanted`` that it has, in its own order."""
        keys = {_key(label) for label in wanted}
        at = [i for i, label in enumerate(self.labels) if _key(label) in keys]
        values, sums = dict(self.values), self.sums
        for t in self.schema.of("head"):
            values[t.name] = values[t.name].reshape(len(self.labels), t.size)[at].reshape(-1)
        if sums is not None:
            sums = Sums(sums.counts[at], sums.sums[at], sums.second)
        return FleetModel(self.schema, tuple(self.labels[i] for i in at), values, dict(self.patterns), sums)

    def cut_to(self, budget: Mapping[str, int]) -> FleetModel:
        """The same with only so many of each sparse tensor's weights: the largest, of equals the first."""
        values, patterns = dict(self.values), dict(self.patterns)
        for t in self.schema.of("sparse"):
            k = budget.get(t.name, patterns[t.name].size)
            if k < patterns[t.name].size:
                keep = np.sort(np.argsort(-np.abs(values[t.name]), kind="stable")[:k])
                values[t.name], patterns[t.name] = values[t.name][keep], patterns[t.name][keep]
        return FleetModel(self.schema, self.labels, values, patterns, self.sums)


def on_pattern(values: Array, pattern: Array, wanted: Array) -> Array:
    """``values`` [n] of the sorted positions ``pattern`` at those of ``wanted``, 0 where they do not live."""
    if pattern is wanted or np.array_equal(pattern, wanted):
        return values
    found = np.zeros(wanted.size, values.dtype)
    if pattern.size:
        at = np.minimum(np.searchsorted(pattern, wanted), pattern.size - 1)
        there = pattern[at] == wanted
        found[there] = values[at[there]]
    return found


def label_order(labels: Iterable[Label]) -> list[Label]:
    """Each label once: numbers, then texts, each ascending. 1 and "1" are two labels."""
    return [label for _, label in sorted({_key(label): label for label in labels}.items())]


def _key(label: Label) -> tuple[int, int | str]:
    return (0, label) if isinstance(label, int) else (1, label)  # type: ignore[return-value]


def check_labels(found: Any) -> tuple[Label, ...]:
    """Distinct labels out of JSON. Raises `ValueError`."""
    if not isinstance(found, list) or len(found) > MOST_LABELS:
        raise ValueError("the labels are no list of at most 4096")
    for label in found:
        text = isinstance(label, str) and 0 < len(label) <= LONGEST_LABEL and label.isprintable()
        if not text and not (type(label) is int and abs(label) < 1 << 53):
            raise ValueError("a label is neither text of 1 to 128 characters nor a whole number")
    if len({_key(label) for label in found}) != len(found):
        raise ValueError("a label stands there twice")
    return tuple(found)
