"""What a memory policy that chooses at a task's end may choose from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..data import SampleSource
from ..storage import ArrayCandidates, SampleStore, StoreCandidates
from .trainer import Parts

Array = np.ndarray


def store_candidates(store: SampleStore, ids: Array) -> StoreCandidates:
    """The records of one task; only those chosen are read."""
    return StoreCandidates(store, int(ids[0]), int(ids[-1]) + 1)


def source_candidates(
    source: SampleSource,
    parts: Parts,
    predict: Callable[[Array], dict[str, Array]],
    seen: Array,
    subjects: Array | None = None,
) -> ArrayCandidates:
    """As many samples of each class as the memory has slots, drawn at random, with the model's present
    logits where the method stores them.
    """
    assert parts.memory is not None
    rng, slots = parts.random["memory"], parts.config.memory
    chosen = []
    for unit in np.unique(source.labels):
        rows = np.flatnonzero(source.labels == unit)
        chosen.append(np.sort(rng.permutation(rows)[:slots]))
    rows = np.concatenate(chosen)
    x = source.read(rows)
    fields = {}
    if "logits" in parts.method.needs.fields:
        width = int(np.flatnonzero(seen)[-1]) + 1
        fields = {"logits": np.clip(predict(x)["logits"][:, :width], -65504, 65504).astype(np.float16)}
    return ArrayCandidates(x, source.labels[rows], fields=fields, subjects=None if subjects is None else subjects[rows])
