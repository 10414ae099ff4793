"""Simulate: a fleet of real learners, one after another, beside dense FedAvg and beside devices that learn alone."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import checkpoint
from ..data.streams import Stream, load_stream
from ..errors import BadInput
from ..storage.bounded import read_json_file
from ..storage.whole import write_whole
from .rounds import Rounds, Rules
from .shares import Share, shares
from .simulated import SimulatedDevice, Way, first_model

WHO = ("edgecl", "fedavg_dense", "local_only")


@dataclass(frozen=True)
class Plan:
    """What is simulated: see `edgecl fleet simulate --help`. steps: of training, a device and round."""

    stream: str = "split-mnist5k"
    network: str = "cnn"
    sparsity: float = 0.9
    method: str = "er"
    memory: int = 200
    batch: int = 32
    lr: float = 0.03
    devices: int = 10
    rounds: int = 10
    steps: int = 20
    alpha: float = 0.3
    most_tests: int = 100
    limit_train: int | None = None
    rules: Rules = field(default_factory=Rules)

    def way(self, who: str) -> Way:
        """FedAvg as published: the whole dense network, nothing against forgetting, running statistics averaged."""
        common = {"network": self.network, "batch": self.batch, "lr": self.lr}
        if who == "fedavg_dense":
            return Way({**common, "method": "naive", "memory": 0}, True, False, "mean")
        policy = "static" if self.rules.mode == "common" else "set"
        sparse = {"sparsity": self.sparsity, "sparsity_policy": policy} if self.sparsity else {}
        own = {**common, **sparse, "method": self.method, "memory": self.memory}
        return Way(own, who == "edgecl", who == "edgecl", "local")

    def rules_of(self, who: str, seed: int) -> Rules:
        given = asdict(self.rules) | {"seed": seed}
        return Rules(**given | ({"form": "f32", "mode": "common", "every": 0} if who == "fedavg_dense" else {}))


class Simulation:
    """One fleet of one kind and seed, in a folder of its own; goes on where it was stopped."""

    def __init__(self, plan: Plan, who: str, seed: int, folder: Path, stream: Stream) -> None:
        if who not in WHO:
            raise BadInput(f"'{who}' is no kind of fleet.", f"Use {', '.join(WHO)}.")
        self.plan, self.who, self.seed, self._stream = plan, who, seed, stream
        self._folder = folder / f"{who}-{seed}"
        self._way = plan.way(who)
        held = dealt(plan, stream, seed)
        self._devices = [
            SimulatedDevice(k, self._folder / f"device-{k}", self._way, stream, [task[k] for task in held], seed + k)
            for k in range(plan.devices)
        ]
        self._server()

    def _server(self) -> None:
        about = json.loads(json.dumps({"plan": asdict(self.plan), "who": self.who, "seed": self.seed}))
        path = self._folder / "plan.json"
        if not path.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps(about).encode())
        elif read_json_file(path) != about:
            raise BadInput(f"{self._folder} holds another simulation.", "Give another --out, or remove it.")
        saved, rows = self._folder / "server.safetensors", self._folder / "rows.json"
        self.rows: list[dict[str, Any]] = read_json_file(rows) if rows.exists() else []
        if saved.exists():
            self.rounds = Rounds.from_state(checkpoint.read(saved))
            return
        model = first_model(self._way, self._stream.input_shape, self._stream.input_dtype, self.seed)
        self.rounds = Rounds(model, self.plan.rules_of(self.who, self.seed))

    @property
    def left(self) -> int:
        """Rounds that are still to be done."""
        return self.plan.rounds - len(self.rows)

    def run(self, tell: Callable[[dict[str, Any]], None]) -> None:
        """All rounds that are left; ``tell`` is given the row of each."""
        while self.left:
            row = self._round()
            self.rows.append(row)
            checkpoint.write(self._folder / "server.safetensors", self.rounds.state())
            write_whole(self._folder / "rows.json", json.dumps(self.rows).encode())
            tell(row)

    def _round(self) -> dict[str, Any]:
        plan, began = self.plan, time.process_time()
        number = len(self.rows) + 1
        task = (number - 1) * len(self._stream.tasks) // plan.rounds
        schema, found, server = self.rounds.model.schema, [], 0.0
        if self.rounds.round != number:  # the rows were not yet written when it stopped
            raise BadInput(f"{self._folder} is damaged.", "Remove it.")
        for device in self._devices:
            found.append(device.turn(self.rounds, schema, task, plan.steps))
        if self._way.exchanges:
            t = time.process_time()
            closed = self.rounds.close()
            server = time.process_time() - t
        else:
            closed = {"replies": 0, "void": False, "pattern_moved": False}
            self.rounds.round += 1
        return {
            "who": self.who, "seed": self.seed, "mode": self.rounds.rules.mode, "format": self.rounds.rules.form,
            "round": number, "task": task, "pattern_sent": any(f["pattern"] for f in found),
            "bytes_up": _mean([f["sent"] for f in found if f["up"]]),
            "bytes_down": _mean([f["down"] for f in found if f["up"]]),
            **_accuracies(found), "replies": closed["replies"], "void": closed["void"],
            "gate_refusals": sum(f["refused"] for f in found),
            "seconds": round(time.process_time() - began, 2), "server_seconds": round(server, 3),
        }  # fmt: skip


def _accuracies(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Over the devices that have test samples. received: of the fleet's model as it came, before a step on it."""
    own = [f["accuracy"] for f in found if f["accuracy"] is not None]
    lost = [f["forgetting"] for f in found if f["forgetting"] is not None]
    came = [f["received"] for f in found if f.get("received") is not None]
    return {
        "accuracy": round(float(np.mean(own)), 4), "p10": round(float(np.percentile(own, 10)), 4),
        "forgetting": round(float(np.mean(lost)), 4) if lost else None,
        "received": round(float(np.mean(came)), 4) if came else None,
    }  # fmt: skip


def _mean(values: Sequence[int]) -> int:
    return round(float(np.mean(values))) if values else 0


def dealt(plan: Plan, stream: Stream, seed: int) -> list[list[Share]]:
    """Of each task the share of each device; the same for every kind of fleet."""
    rng = np.random.default_rng([seed, 19])
    return [
        shares(t.train.labels, t.test.labels, plan.devices, plan.alpha, plan.most_tests, rng) for t in stream.tasks
    ]


def open_stream(plan: Plan) -> Stream:
    return load_stream(plan.stream, limit_train=plan.limit_train)


def costs(
    plan: Plan, folder: Path, stream: Stream, who: Sequence[str], seeds: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """What each kind of fleet will take, from one turn of one device in a folder that is removed again: seconds of
    CPU, bytes on disk, bytes a device and round of the first message.
    """
    for name in who:
        place = folder / ".trial"
        shutil.rmtree(place, ignore_errors=True)
        trial = Simulation(plan, name, seeds[0], place, stream)
        began = time.process_time()
        device = max(trial._devices, key=lambda d: d.count(0))
        done = device.turn(trial.rounds, trial.rounds.model.schema, 0, plan.steps)
        seconds = time.process_time() - began
        size = sum(p.stat().st_size for p in place.rglob("*") if p.is_file())
        shutil.rmtree(place)
        turns = plan.devices * plan.rounds * len(seeds)
        yield {"who": name, "turns": turns, "cpu_seconds": round(seconds * turns), "disk_bytes": size * plan.devices
               * len(seeds), "first_bytes_down": done["down"], "first_bytes_up": done["sent"]}  # fmt: skip
