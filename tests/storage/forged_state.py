"""The saved state of a learner for the campaign of forged files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from forged_campaign import Format, leaves, put, values

SHAPE = (1, 6, 6)


def make_state(place: Path) -> None:
    from edgecl import Learner

    options = dict(input_shape=SHAPE, method="der++", sparsity=0.5, memory=12, batch=4, classes=4, buffer=40)
    with Learner("mlp", store=str(place / "s"), path=str(place / "saved"), **options) as learner:
        for task in range(2):
            x = np.random.default_rng(task).integers(0, 256, (24, *SHAPE), dtype=np.uint8)
            learner.observe(x, [2 * task, 2 * task + 1] * 12).wait()
            learner.learn(steps=6)
            if not task:
                learner.end_task()
        learner.save()


def use_state(place: Path) -> None:
    from edgecl import Learner

    with Learner.open(place / "saved", store=place / "s") as learner:
        learner.observe(np.zeros((4, *SHAPE), np.uint8), [0, 1, 2, 3])
        learner.learn(steps=3)
        learner.predict(np.zeros(SHAPE, np.uint8))
        learner.save()


def _read(path: Path) -> tuple[Any, dict[str, np.ndarray]]:
    from safetensors.numpy import load

    raw = path.read_bytes()
    about = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]["edgecl"]
    return json.loads(about), dict(load(raw))


def state_changes(place: Path) -> Iterator[tuple[str, Callable[[Path], None]]]:
    tree, arrays = _read(_file(place))
    for where, was in leaves(tree):
        if where[-1] in ("train_seconds",) or "config" in where:
            continue
        for value in values(was):
            yield f"state {where} = {value}", lambda p, w=where, v=value: _write(p, lambda t, a: put(t, w, v))
    for name, array in arrays.items():
        if array.dtype.kind in "iu" and array.size:
            for value in values(int(array.reshape(-1)[0])):
                yield f"array {name} = {value}", lambda p, n=name, v=value: _write(p, lambda t, a: _element(a, n, v))


def _element(arrays: dict[str, np.ndarray], name: str, value: int) -> None:
    array = arrays[name].copy()
    limits = np.iinfo(array.dtype)
    array.reshape(-1)[0] = min(max(value, limits.min), limits.max)
    arrays[name] = array


def _file(place: Path) -> Path:
    return next(iter(sorted((place / "saved").glob("checkpoint-*.safetensors"))))


def _write(place: Path, change: Callable[[Any, dict[str, np.ndarray]], None]) -> None:
    from safetensors.numpy import save

    from edgecl import checkpoint

    path = _file(place)
    tree, arrays = _read(path)
    change(tree, arrays)
    about = json.dumps(tree)
    path.write_bytes(save(arrays, {"edgecl": about, "sha256": checkpoint.checksum(about, arrays)}))


STATE = Format("state", make_state, state_changes, use_state, lambda p: [_file(p)])
