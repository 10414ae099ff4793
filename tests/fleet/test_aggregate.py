"""The mean over the devices where a weight lives equals the dense reference there, and touches nothing elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from made_up import LABELS, SCHEMA, dense, random_model, rows

from edgecl.fleet.aggregate import ExactSum, FeatureSums, Mean
from edgecl.fleet.model import Schema, Sums

CASES = 10_000


def reference(base, models, weights, name):
    """Dense: sum(w v) / sum(w) where somebody has the weight, else the base's; and where it lives."""
    old, lives = dense(base, name)
    total, share = np.zeros(old.size, np.longdouble), np.zeros(old.size)
    for model, w in zip(models, weights):
        full, there = dense(model, name)
        total += w * full.astype(np.longdouble) * there
        share += w * there
    new = np.where(share > 0, total / np.maximum(share, 1), old).astype(np.float64)
    return new.astype(np.float32), lives | (share > 0), share > 0


def check(seed):
    rng = np.random.default_rng(seed)
    base = random_model(rng)
    models = [random_model(rng) for _ in range(rng.integers(1, 5))]
    weights = rng.integers(1, 10_000, len(models))
    of_rows = [rng.integers(0, 10_000, len(m.labels)) * (rng.random(len(m.labels)) < 0.8) for m in models]
    mean = Mean(SCHEMA)
    for model, w, r in zip(models, weights, of_rows):
        mean.add(model, int(w), rows=[int(v) for v in r])
    found = mean.finish(base)
    for name in ("stem", "conv", "deep"):
        new, lives, touched = reference(base, models, weights, name)
        full, there = dense(found, name)
        assert np.array_equal(there, lives)
        assert np.array_equal(full[lives], new[lives])
        assert np.array_equal(full[~touched], dense(base, name)[0][~touched])
        assert not full[~lives].any()
    for name in ("head.weight", "head.bias"):
        now, before = rows(found, name), rows(base, name)
        weighed = [dict(zip(m.labels, r)) for m, r in zip(models, of_rows)]
        assert set(now) == set(base.labels).union(*({k for k, v in w.items() if v} for w in weighed))
        assert found.labels[: len(base.labels)] == base.labels
        for label, row in now.items():
            those = [(w[label], m) for m, w in zip(models, weighed) if w.get(label)]
            own = [(w, rows(m, name)[label].astype(np.longdouble)) for w, m in those]
            wanted = sum(w * r for w, r in own) / sum(w for w, _ in own) if own else before[label]
            assert np.array_equal(row, np.asarray(wanted, np.float64).astype(np.float32))


@pytest.mark.parametrize("part", range(10))
def test_random_masks_equal_the_dense_reference(part):
    for seed in range(part * CASES // 10, (part + 1) * CASES // 10):
        check(seed)


def test_the_order_of_devices_changes_no_bit():
    rng = np.random.default_rng(5)
    base, models = random_model(rng), [random_model(rng) for _ in range(30)]
    digests = set()
    for _ in range(5):
        mean = Mean(SCHEMA)
        for i in rng.permutation(30):
            mean.add(models[i], int(i) + 1)
        digests.add(mean.finish(base).digest)
    assert len(digests) == 1


def test_one_device_gives_its_own_bits_whatever_its_weight():
    rng = np.random.default_rng(6)
    model = random_model(rng, labels=LABELS)
    for weight in (1, 3, 9_999):
        mean = Mean(SCHEMA)
        mean.add(model, weight)
        assert mean.finish(random_model(rng, labels=LABELS, patterns=model.patterns)).digest == model.digest


def test_sums_add_up_exactly():
    total = ExactSum(1)
    for value in (1e16, 1.0, -1e16, 1.0):
        total.add(np.array([value]))
    assert total.total()[0] == 2.0
    features = FeatureSums(Schema((), (3, False)))
    empty = np.zeros(0)
    features.add(("a", 7), Sums(np.array([2.0, 1.0]), np.array([[1e16, 1, 0], [5, 5, 5]]), empty))
    features.add(("a",), Sums(np.array([3.0]), np.array([[1.0, 2, 0]]), empty))
    features.add(("a",), Sums(np.array([1.0]), np.array([[-1e16, 0, 0]]), empty))
    found = features.total(("a", 7, "unseen"))
    assert found.counts.tolist() == [6, 1, 0]
    assert found.sums.tolist() == [[1, 3, 0], [5, 5, 5], [0, 0, 0]]
