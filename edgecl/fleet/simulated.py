"""SimulatedDevice: one real learner of a simulated fleet, on disk but for its turn in a round."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..data.streams import Stream
from ..learner import Learner
from ..service.config import Holdout
from ..service.judge import compare
from ..storage.bounded import read_json_file
from ..storage.whole import write_whole
from .codec import peek
from .member import Member
from .model import FleetModel, Schema
from .rounds import Known, Rounds
from .shares import Share
from .weights import read, schema_of

PIECE = 256  # samples predicted at a time


class Way(NamedTuple):
    """How a kind of fleet learns. options: of its learners; exchanges: whether models travel; gate: whether a model
    that got worse on held-out samples is refused; bn: see `schema_of`.
    """

    options: Mapping[str, Any]
    exchanges: bool
    gate: bool
    bn: str


def first_model(way: Way, shape: Sequence[int], dtype: str, seed: int) -> FleetModel:
    """What a fleet starts from: the weights of a learner that has seen nothing."""
    with Learner(input_shape=tuple(shape), dtype=dtype, seed=seed, **way.options) as learner:
        state = learner.model.state()
        return read(schema_of(learner.model.graph, state, way.bn), state, ())


class SimulatedDevice:
    """number : of the device;  folder : of its states;  held : its share of each task"""

    def __init__(self, number: int, folder: Path, way: Way, stream: Stream, share: Sequence[Share], seed: int) -> None:
        self.number, self._folder, self._way, self._stream, self._share = number, folder, way, stream, share
        self._seed = seed
        self._name = f"device-{number}"

    def turn(self, rounds: Rounds, schema: Schema, task: int, steps: int) -> dict[str, Any]:
        """Its part of the open round, once: what is on disk is not done again. Plain values of what happened; the
        update has been given to ``rounds``.
        """
        done = self._done()
        if done.get("round") == rounds.round:
            if done["up"]:
                rounds.message(Known(**{**done["known"], "labels": tuple(done["known"]["labels"])}))
                rounds.take((self._folder / done["up"]).read_bytes())
            return done
        learner, member = self._open(done, schema, rounds)
        with learner:
            found = self._do(learner, member, rounds, task, steps, done)
            self._write(learner, member, found)
        return found

    def _done(self) -> dict[str, Any]:
        path = self._folder / "done.json"
        return read_json_file(path) if path.exists() else {}

    def _open(self, done: Mapping[str, Any], schema: Schema, rounds: Rounds) -> tuple[Learner, Member]:
        if done:
            return Learner.open(self._folder / done["state"]), Member.open(self._folder / done["member"])
        learner = Learner(
            input_shape=self._stream.input_shape, dtype=self._stream.input_dtype, classes=self._stream.class_count,
            seed=self._seed, buffer=max(64, sum(len(share.train) for share in self._share)), **self._way.options,
        )  # fmt: skip
        return learner, Member(schema, self._name, rounds.rules.form)

    def _do(
        self, learner: Learner, member: Member, rounds: Rounds, task: int, steps: int, done: Mapping[str, Any]
    ) -> dict[str, Any]:
        seen = int(done.get("tasks", 0))
        for number in range(seen, task + 1):
            x, y = self._samples(number, "train")
            if len(x):
                learner.observe(x, y, task=self._stream.tasks[number].name)
        found: dict[str, Any] = {"round": rounds.round, "tasks": task + 1, "up": "", "down": 0, "sent": 0,
                                 "pattern": False, "refused": False, "samples": self.count(task)}  # fmt: skip
        best = dict(done.get("best", {}))
        before, kept = self._held(learner, task), learner.model.state()
        if found["samples"]:
            if self._way.exchanges:
                known = member.known(learner.units, rounds.model.living)
                message = rounds.message(known)
                member.receive(message)
                learner.model.load(member.adopted(kept, learner.units))
                found |= {"known": asdict(known), "down": len(message), "pattern": peek(message).patterns > 0}
                found["received"] = _share_right(self._tested(learner, task)) if learner.model.steps else None
            learner.learn(steps=steps)
            if self._way.exchanges:
                up = member.update(learner.model.state(), learner.units, found["samples"], steps, self._by_label(task))
                rounds.take(up)
                found |= {"up": f"up-{rounds.round}.bin", "sent": len(up)}
                found["pattern"] |= peek(up).patterns > 0
                (self._folder / found["up"]).parent.mkdir(parents=True, exist_ok=True)
                (self._folder / found["up"]).write_bytes(up)
            if self._way.gate:
                verdict = compare(before, self._held(learner, task), Holdout())
                if verdict is not None and verdict.worse:
                    learner.model.load(kept)
                    found["refused"] = True
        right = self._tested(learner, task)
        for number, (good, count) in right.items():
            best[str(number)] = max(best.get(str(number), 0.0), good / count)
        earlier = [best[str(n)] - g / c for n, (g, c) in right.items() if n < task]
        return {**found, "accuracy": _share_right(right), "best": best,
                "forgetting": float(np.mean(earlier)) if earlier else None}  # fmt: skip

    def count(self, task: int) -> int:
        """Samples that it trains on until the end of a task."""
        return sum(len(share.train) for share in self._share[: task + 1])

    def _by_label(self, task: int) -> dict[Any, int]:
        found: dict[Any, int] = {}
        for number, share in enumerate(self._share[: task + 1]):
            units, counts = np.unique(self._stream.tasks[number].train.labels[share.train], return_counts=True)
            for unit, count in zip(units, counts):
                found[self._stream.labels[unit]] = found.get(self._stream.labels[unit], 0) + int(count)
        return found

    def _samples(self, task: int, part: str) -> tuple[np.ndarray, list[Any]]:
        source = self._stream.tasks[task].test if part == "test" else self._stream.tasks[task].train
        at = getattr(self._share[task], part)
        return source.read(at), [self._stream.labels[k] for k in source.labels[at]]

    def _right(self, learner: Learner, task: int, part: str) -> np.ndarray:
        """bool [n]: of which samples of one task's part the present model is right."""
        x, y = self._samples(task, part)
        found: list[Any] = []
        for at in range(0, len(x) if learner.model.steps else 0, PIECE):
            found += learner.predict(x[at : at + PIECE])
        return np.array([a == b for a, b in zip(found, y)], bool) if found else np.zeros(len(y), bool)

    def _held(self, learner: Learner, task: int) -> dict[int, bool]:
        """Of which held-out samples of the tasks so far it is right, at most 128 of them."""
        right = np.concatenate([self._right(learner, number, "held") for number in range(task + 1)])
        if not learner.model.steps or not right.size:
            return {}
        return {int(i): bool(right[i]) for i in np.unique(np.linspace(0, right.size - 1, 128).astype(int))}

    def _tested(self, learner: Learner, task: int) -> dict[int, tuple[int, int]]:
        """(right, tested) of each task so far of which it has test samples."""
        found = {n: self._right(learner, n, "test") for n in range(task + 1)}
        return {n: (int(r.sum()), len(r)) for n, r in found.items() if len(r)}

    def _write(self, learner: Learner, member: Member, found: dict[str, Any]) -> None:
        """Beside what was; then the name of what counts; then what was goes."""
        number = found["round"]
        found |= {"state": f"state-{number}", "member": f"member-{number}.safetensors"}
        learner.save(self._folder / found["state"])
        member.save(self._folder / found["member"])
        write_whole(self._folder / "done.json", json.dumps(found).encode())
        for path in self._folder.iterdir():
            if path.name not in (found["state"], found["member"], found["up"], "done.json"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _share_right(right: Mapping[int, tuple[int, int]]) -> float | None:
    """Over all test samples; None without any."""
    tested = sum(n for _, n in right.values())
    return sum(g for g, _ in right.values()) / tested if tested else None
