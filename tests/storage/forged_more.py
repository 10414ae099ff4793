"""More kinds of files for the campaign: a network's, an encrypted learner's, a backup, a configuration."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from forged_campaign import Format, json_numbers, leaves, put, values

SHAPE = (1, 8, 8)
Changes = Iterator[tuple[str, Callable[[Path], None]]]


def _pictures(n: int = 8) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (n, *SHAPE), dtype=np.uint8)


# --- a network


def make_network(place: Path) -> None:
    from edgecl import Network

    Network.by_name("cnn", SHAPE, 3).save(place / "n.edgecl")


def use_network(place: Path) -> None:
    from edgecl import Learner

    with Learner(place / "n.edgecl", input_shape=SHAPE, method="er", memory=8, batch=4, sparsity=0.5) as learner:
        learner.observe(_pictures(), [0, 1, 2, 0, 1, 2, 0, 1])
        learner.learn(steps=2)
        learner.predict(_pictures())


def network_changes(place: Path) -> Changes:
    raw = (place / "n.edgecl").read_bytes()
    size = int.from_bytes(raw[:8], "little")
    model = json.loads(json.loads(raw[8 : 8 + size])["__metadata__"]["edgecl.model"])
    for where, was in leaves(model):
        for value in values(was):
            yield f"network {where} = {value}", lambda p, w=where, v=value: _network(p / "n.edgecl", w, v)


def _network(path: Path, where: tuple[Any, ...], value: int) -> None:
    from safetensors.numpy import load, save

    from edgecl.checksums import checksum

    raw = path.read_bytes()
    about = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]
    model, weights = json.loads(about["edgecl.model"]), dict(load(raw))
    put(model, where, value)
    text = json.dumps(model, sort_keys=True)
    path.write_bytes(save(weights, {"edgecl.model": text, "sha256": checksum(text, weights)}))


# --- an encrypted learner, and a backup


def make_sealed(place: Path) -> None:
    from edgecl.storage import KeyFile

    from edgecl import Learner

    options = dict(input_shape=SHAPE, method="er", memory=12, batch=4, classes=4, buffer=40)
    options["root_key"] = KeyFile(place / "k")
    with Learner("mlp", store=str(place / "s"), path=str(place / "saved"), **options) as learner:
        learner.observe(_pictures(16), [0, 1] * 8, subject=1).wait()
        learner.learn(steps=3)
        learner.save()
        learner.observe(_pictures(16), [2, 3] * 8, subject=2).wait()


def use_sealed(place: Path) -> None:
    from edgecl.storage import KeyFile

    from edgecl import Learner

    with Learner.open(place / "saved", store=place / "s", root_key=KeyFile(place / "k")) as learner:
        learner.learn(steps=2)
        learner.forget(1)
        learner.save()


def make_backup(place: Path) -> None:
    from edgecl import Learner

    options = dict(input_shape=SHAPE, method="er", memory=12, batch=4, classes=4, buffer=40)
    with Learner("mlp", store=str(place / "s"), path=str(place / "saved"), **options) as learner:
        learner.observe(_pictures(16), [0, 1] * 8).wait()
        learner.save()
        learner.backup(place / "b.tar")


def use_backup(place: Path) -> None:
    from edgecl import Learner

    with Learner.restore(place / "b.tar", place / "again") as learner:
        learner.learn(steps=1)


# --- a configuration


def make_settings(place: Path) -> None:
    settings = {
        "method": "er", "network": "mlp", "memory": 20, "batch": 8, "epochs": 1, "lr": 0.1, "threads": 1, "seed": 3,
        "sparsity": 0.5, "stream": "split-mnist5k", "replay_batch": 8,
    }  # fmt: skip
    (place / "c.json").write_text(json.dumps(settings))


def use_settings(place: Path) -> None:
    from edgecl import Learner
    from edgecl.config import read_config_file

    options = read_config_file(place / "c.json")
    options = {k: v for k, v in options.items() if k not in ("network", "epochs", "stream")}
    with Learner("mlp", input_shape=SHAPE, **options) as learner:
        learner.observe(_pictures(), [0, 1, 2, 0, 1, 2, 0, 1])
        learner.learn(steps=1)


MORE = [
    Format("network", make_network, network_changes, use_network, lambda p: [p / "n.edgecl"]),
    Format(
        "encrypted learner", make_sealed, lambda p: iter(()), use_sealed,
        lambda p: [f for top in ("s", "saved") for f in sorted((p / top).rglob("*")) if f.is_file()],
    ),
    Format("backup", make_backup, lambda p: iter(()), use_backup, lambda p: [p / "b.tar"]),
    Format("settings", make_settings, json_numbers("c.json"), use_settings, lambda p: [p / "c.json"]),
]  # fmt: skip
