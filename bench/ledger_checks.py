"""Invariants of the reproduction ledger: each returns (whether it holds, what was found)."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np

from edgecl import checkpoint
from edgecl.methods import make_method
from edgecl.run import run


def _features(seed: int = 0, n: int = 2000, d: int = 64, classes: int = 10) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    return np.maximum(rng.normal(size=(classes, d))[y] + rng.normal(size=(n, d)), 0).astype(np.float32), y


def _solved(method: Any) -> np.ndarray:
    return np.asarray(method.solve(method.counted)[0])


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / np.abs(b).max())


def ridge_any_order() -> tuple[bool, str]:
    f, y = _features()
    heads = []
    for order in (np.arange(len(y)), np.argsort(y, kind="stable"), np.random.default_rng(1).permutation(len(y))):
        head = make_method("ridge", random_features=256)
        for rows in np.array_split(order, 37):
            head.add(f[rows], y[rows])
        heads.append(_solved(head))
    worst = max(_apart(h, heads[0]) for h in heads[1:])
    return worst < 1e-6, f"heads differ by {worst:.1e} of their largest weight"


def ridge_forgets() -> tuple[bool, str]:
    f, y = _features()
    mine = np.arange(len(y)) % 20 == 0
    never, forgot = make_method("ridge", random_features=256), make_method("ridge", random_features=256)
    never.add(f[~mine], y[~mine])
    forgot.add(f, y)
    forgot.add(f[mine], y[mine], -1.0)
    found = _apart(_solved(forgot), _solved(never))
    return found < 1e-6, f"heads differ by {found:.1e} of their largest weight"


def lda_is_batch_lda() -> tuple[bool, str]:
    f, y = _features()
    head = make_method("slda")
    for rows in np.array_split(np.arange(len(y)), 60):
        head.add(f[rows], y[rows])
    x = f.astype(np.float64)
    means = np.stack([x[y == c].mean(axis=0) for c in range(10)])
    within = (x - means[y]).T @ (x - means[y]) / len(y)
    shrunk = (1 - 1e-4) * within + 1e-4 * np.trace(within) / x.shape[1] * np.eye(x.shape[1])
    found = _apart(_solved(head), np.linalg.solve(shrunk, means.T))
    return found < 1e-6, f"heads differ by {found:.1e} of their largest weight"


def agem_is_naive() -> tuple[bool, str]:
    ours, naive = (_weights({"method": m, "limit_tasks": 1}) for m in ("a-gem", "naive"))
    same = all(np.array_equal(ours[k], naive[k]) for k in naive)
    return same and ours.keys() == naive.keys(), "equal bits" if same else "other bits"


def der_without_alpha() -> tuple[bool, str]:
    how = {"network": "mlp", "replay_forward": "separate"}
    ours, naive = _weights({"method": "der", "alpha": 0.0, **how}), _weights({"method": "naive", **how})
    worst = max(_apart(ours[k], naive[k]) for k in naive if np.abs(naive[k]).max() > 0)
    return worst < 1e-4, f"weights differ by {worst:.1e} of the largest"


def _weights(options: dict[str, Any]) -> dict[str, np.ndarray]:
    """Of a network after a short run on the digits."""
    base = {"stream": "split-mnist5k-peers", "network": "cnn", "epochs": 1, "limit_train": 800, "memory": 100}
    with tempfile.TemporaryDirectory() as folder:
        run({**base, **options, "out": folder})
        saved = checkpoint.load(folder)
        assert saved is not None
        return {k: v for k, v in saved["trainer"]["engine"].items() if k.endswith("/values")}


CHECKS = {f.__name__: f for f in (ridge_any_order, ridge_forgets, lda_is_batch_lda, agem_is_naive, der_without_alpha)}
