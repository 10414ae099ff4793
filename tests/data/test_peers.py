"""Splits that others' code was measured on: drawn as they were, and refused when the data is another."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from edgecl.data.peers import fashion20k_split, mnist5k_split, peers_tasks, split_sha256
from edgecl.errors import BadInput


class Samples:
    """A source of n samples with given labels, each telling its position."""

    def __init__(self, labels):
        self.labels = np.asarray(labels)

    def read(self, rows):
        return np.asarray(rows, np.int64)[:, None]


def data(labels, test=None):
    labels = np.asarray(labels)
    return SimpleNamespace(samples=Samples(labels), test=np.zeros(len(labels), bool) if test is None else test)


def test_the_digits_give_each_class_a_hundred_test_samples_of_one_generators_permutations():
    units = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 500))
    train, test = mnist5k_split(data(units))
    assert len(train) == 4000 and len(test) == 1000 and not np.intersect1d(train, test).size
    assert np.array_equal(np.bincount(units[test]), np.full(10, 100))
    assert np.all(np.diff(train) > 0) and np.all(np.diff(test) > 0)
    r = np.random.RandomState(20240601)
    first = r.permutation(np.flatnonzero(units == 0))
    assert set(first[:100]) == set(test[units[test] == 0])
    second = r.permutation(np.flatnonzero(units == 1))
    assert set(second[100:]) == set(train[units[train] == 1])


def test_fashion_takes_two_thousand_a_class_and_the_whole_test_set():
    units = np.repeat(np.arange(10), 3000)
    test = np.arange(len(units)) % 10 == 9
    train, held = fashion20k_split(data(units, test))
    assert np.array_equal(np.bincount(units[train]), np.full(10, 2000)) and not test[train].any()
    assert np.array_equal(held, np.flatnonzero(test))


def test_tasks_are_pairs_and_samples_of_another_source_are_refused():
    units = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 500))
    found = data(units)
    sha = split_sha256(found, *mnist5k_split(found))[:16]
    tasks = peers_tasks(mnist5k_split, sha)(found)
    assert [t[1] for t in tasks] == [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]
    assert all(set(units[t[2]]) == set(t[1]) == set(units[t[3]]) for t in tasks)
    assert sum(len(t[2]) for t in tasks) == 4000
    with pytest.raises(BadInput, match="measured on"):
        peers_tasks(mnist5k_split, "0" * 16)(found)
