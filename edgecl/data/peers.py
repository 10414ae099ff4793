"""Splits on which other people's code was measured: the same samples in train and test, checked by their bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

from ..errors import BadInput
from .cache import PlainDataset
from .cut import Cut

SEED = 20240601
PIECE = 1000  # samples hashed at a time
MNIST5K_SHA256 = "e04e5e55e73da613"  # of train x, train y, test x, test y: the first 16 digits
FASHION20K_SHA256 = "3e3caea7d9b56fe2"


def mnist5k_split(data: PlainDataset) -> tuple[np.ndarray, np.ndarray]:
    """(training, test) positions: of each class's permutation the first 100 test, the others train; both sorted."""
    r, units = np.random.RandomState(SEED), data.samples.labels
    orders = [r.permutation(np.flatnonzero(units == c)) for c in range(10)]
    return np.sort(np.concatenate([p[100:] for p in orders])), np.sort(np.concatenate([p[:100] for p in orders]))


def fashion20k_split(data: PlainDataset) -> tuple[np.ndarray, np.ndarray]:
    """(training, test) positions: the first 2000 of each class's permutation of training rows; the whole test set."""
    r, units = np.random.RandomState(SEED), data.samples.labels
    orders = [r.permutation(np.flatnonzero((units == c) & ~data.test))[:2000] for c in range(10)]
    return np.sort(np.concatenate(orders)), np.flatnonzero(data.test)


def peers_tasks(
    split: Callable[[PlainDataset], tuple[np.ndarray, np.ndarray]], sha256: str
) -> Callable[[PlainDataset], list[Cut]]:
    """Tasks (0,1) to (8,9) of a split whose bytes have this hash. BadInput where they have another."""

    def cut(data: PlainDataset) -> list[Cut]:
        train, test = split(data)
        found = split_sha256(data, train, test)
        if not found.startswith(sha256):
            raise BadInput(
                f"The split's samples have sha256 {found[:16]}, those that others were measured on {sha256}.",
                "Fetch the data set anew: another source or version of it lies in the cache.",
            )
        units = data.samples.labels
        cuts: list[Cut] = []
        for first in range(0, 10, 2):
            classes = (first, first + 1)
            mine = [rows[np.isin(units[rows], classes)] for rows in (train, test)]
            cuts.append((f"{first}/{first + 1}", classes, mine[0], mine[1]))
        return cuts

    return cut


def split_sha256(data: PlainDataset, train: np.ndarray, test: np.ndarray) -> str:
    """Over the bytes of train x, train y (int64), test x, test y."""
    digest = hashlib.sha256()
    for rows in (train, test):
        for start in range(0, len(rows), PIECE):
            digest.update(data.samples.read(rows[start : start + PIECE]).tobytes())
        digest.update(data.samples.labels[rows].astype(np.int64).tobytes())
    return digest.hexdigest()
