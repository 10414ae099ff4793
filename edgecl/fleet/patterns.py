"""The common pattern moves: the server drops the smallest weights and grows others, for all devices at once."""

from __future__ import annotations

import numpy as np

from .model import FleetModel, on_pattern


def exchanged(model: FleetModel, share: float, rng: np.random.Generator) -> FleetModel:
    """Of each sparse tensor the ``share`` of living weights that is smallest dies and as many dead ones, drawn at
    random, live from now on, at 0: as many live as before (SET, Mocanu et al., 2018, by the fleet's mean weights).
    """
    values, patterns = dict(model.values), dict(model.patterns)
    for t in model.schema.of("sparse"):
        pattern, weights = patterns[t.name], values[t.name]
        count = min(round(share * pattern.size), t.size - pattern.size)
        if not count:
            continue
        stays = np.sort(np.argsort(-np.abs(weights), kind="stable")[: pattern.size - count])
        dead = np.ones(t.size, bool)
        dead[pattern] = False
        grown = rng.choice(np.flatnonzero(dead), count, replace=False)
        new = np.sort(np.concatenate([pattern[stays], grown])).astype(np.int32)
        values[t.name] = on_pattern(weights[stays], pattern[stays], new)
        patterns[t.name] = new
    return FleetModel(model.schema, model.labels, values, patterns, model.sums)
