"""Sets of numbers as numpy's, without numpy.ma, which `numpy.unique` loads: megabytes that no plan counts."""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def distinct(values: Array) -> Array:
    """The sorted distinct values of an array: what `numpy.unique` gives."""
    return np.unique(values, return_counts=True)[0]


def union(one: Array, other: Array) -> Array:
    """The sorted distinct values of two arrays together."""
    return distinct(np.concatenate([np.ravel(one), np.ravel(other)]))
