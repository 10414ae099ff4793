"""Rounds: the server's side. What each device is sent, what is taken of it, and the model that comes of a round."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ..errors import BadInput
from .aggregate import FeatureSums, Mean
from .codec import About, decode, encode, peek
from .header import Header
from .model import FleetModel, Label, Schema, Sums
from .norms import Norms, distance
from .patterns import exchanged
from .quantise import FORMATS, Feedback, Wire, applied
from .refusals import NAMES, BadUpdate

SERVER = "server"
MODES = ("common", "union")


@dataclass(frozen=True)
class Rules:
    """mode : ``common``: one pattern, the server's; ``union``: each device has its own
    form : what differences travel in;  every, share : after so many rounds so much of the common pattern is exchanged
    least : replies without which a round is void;  cap : samples a device's weight may reach
    clip : largest norm of a difference; None: ten times the median of those taken so far
    """

    mode: str = "common"
    form: str = "f16"
    every: int = 5
    share: float = 0.1
    least: int = 1
    cap: int = 10_000
    clip: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.mode not in MODES or self.form not in FORMATS:
            raise BadInput(f"Mode '{self.mode}', format '{self.form}'.", f"Use {MODES} and {FORMATS}.")
        numbers = self.every >= 0 and 0 <= self.share < 1 and self.least >= 1 and 1 <= self.cap < 1 << 20
        if not numbers or (self.clip is not None and not self.clip > 0):
            raise BadInput(f"The rules are out of range: {self}.", "See edgecl.fleet.rounds.Rules.")


@dataclass(frozen=True)
class Known:
    """What a device says it has, before a round.

    device : its name;  labels : it has samples of, or its operator wants;  base, pattern : digests, "" for nothing
    budget : living weights of each sparse tensor it has room for (union mode)
    """

    device: str
    labels: tuple[Label, ...] = ()
    base: str = ""
    pattern: str = ""
    budget: Mapping[str, int] = field(default_factory=dict)


@dataclass
class _Sent:
    """What a device was sent last."""

    digest: str
    labels: tuple[Label, ...]
    budget: dict[str, int]
    round: int


class Rounds:
    """One model and its rounds. `message` to each device, `take` what comes back, `close`; again.

    model : as the devices have it;  round : that is open, from 1
    refused : by name, since the beginning;  names : devices that may take part, None: any
    """

    def __init__(self, model: FleetModel, rules: Rules, names: Iterable[str] | None = None) -> None:
        self.model, self.rules = model, rules
        self.names = None if names is None else frozenset(names)
        self.round, self.void = 1, 0
        self.refused = dict.fromkeys(NAMES, 0)
        self._feedback, self._norms = Feedback(), Norms(rules.clip)
        self._wire: dict[str, Wire] | None = None  # the last step, where differences travel
        self._sent: dict[str, _Sent] = {}
        self._features: dict[str, tuple[tuple[Label, ...], Sums]] = {}
        self._begin()

    def _begin(self) -> None:
        self._mean = Mean(self.model.schema)
        self._replied: set[str] = set()

    # -- to the devices

    def message(self, known: Known) -> bytes:
        """The model for one device: differences where it has the one before, nothing where it has this one, else all.
        """
        self._check_name(known.device)
        mine = self._for(known.labels, known.budget)
        last = self._sent.get(known.device)
        has = known.base if last is not None and known.base == last.digest else None
        about = About("model", SERVER, self.round)
        digest = mine.digest
        self._sent[known.device] = _Sent(digest, mine.labels, dict(known.budget), self.round)
        if has == digest:
            return encode(mine, about, base=has, form="none", patterns=False)
        knows = known.pattern == mine.pattern_digest
        step = last is not None and has is not None and last.round == self.round - 1 and self.rules.mode == "common"
        if step and self._wire is not None:
            return encode(mine, about, base=has, wire=self._wire, form=self.rules.form, patterns=not knows)
        return encode(mine, about, patterns=not (knows and has is not None), base=has)

    def _for(self, labels: Iterable[Label], budget: Mapping[str, int]) -> FleetModel:
        mine = self.model.with_labels(labels)
        return mine.cut_to(budget) if self.rules.mode == "union" else mine

    def _check_name(self, device: str) -> None:
        if self.names is not None and device not in self.names:
            raise self._refuse(BadUpdate("stranger", f"'{device[:64]}' is no device of this fleet.", "Enter its name."))

    def _refuse(self, error: BadUpdate) -> BadUpdate:
        self.refused[error.name] += 1
        return error

    # -- from the devices

    def take(self, data: bytes) -> Header:
        """One update, counted in. Raises `BadUpdate` by name, and counts it, with nothing of it used."""
        try:
            return self._take(data)
        except BadUpdate as error:
            raise self._refuse(error) from None

    def _take(self, data: bytes) -> Header:
        header = peek(data)
        if self.names is not None and header.device not in self.names:
            raise BadUpdate("stranger", f"'{header.device}' is no device of this fleet.", "Enter its name.")
        if header.kind != "update":
            raise BadUpdate("format", "A model came where an update was expected.")
        if header.round != self.round:
            raise BadUpdate("late", f"The update is of round {header.round}, round {self.round} is open.")
        if header.device in self._replied:
            raise BadUpdate("twice", f"'{header.device}' has answered in this round.")
        sent = self._sent.get(header.device)
        if sent is None or header.base != sent.digest:
            raise BadUpdate("base", "The update starts from another model than the one that was sent.")
        base = self._for(sent.labels, sent.budget)
        update = decode(data, self.model.schema, base)
        if self.rules.mode == "common" and header.pattern != base.pattern_digest:
            raise BadUpdate("pattern", "The device has another pattern than the fleet's.", "Use the policy static.")
        for name, room in sent.budget.items() if self.rules.mode == "union" else ():
            if update.model.living.get(name, 0) > room:
                raise BadUpdate("pattern", f"More of '{name}' lives than the device has room for.")
        if not header.samples:
            raise BadUpdate("format", "The update says that it is of no sample.")
        self._norms.check(distance(update.model, base), self.model)
        cap = self.rules.cap
        self._mean.add(update.model, min(header.samples, cap), header.samples, [min(n, cap) for n in header.counts])
        if update.model.sums is not None:
            self._features[header.device] = (header.labels, update.model.sums)
        self._replied.add(header.device)
        return header

    # -- the end of a round

    def close(self) -> dict[str, Any]:
        """End the round, whoever answered; the next one is open. Returns what happened, as plain values. With fewer
        replies than `Rules.least` the round is void and the model stays.
        """
        replies, samples, number = self._mean.replies, self._mean.samples, self.round
        void = replies < self.rules.least
        moved = False
        if void:
            self.void += 1
            self._wire = None
        else:
            moved = self._advance()
        self.round += 1
        self._begin()
        return {"round": number, "replies": replies, "samples": samples, "void": void, "pattern_moved": moved}

    def _advance(self) -> bool:
        base, rules = self.model, self.rules
        target = self._mean.finish(base)
        if self._features:
            features = FeatureSums(base.schema)
            for device in sorted(self._features):
                features.add(*self._features[device])
            target.sums = features.total(target.labels)
        moved = bool(rules.mode == "common" and rules.every and self.round % rules.every == 0 and rules.share)
        if moved:
            target = exchanged(target, rules.share, np.random.default_rng([rules.seed, self.round]))
        self._wire = None
        if rules.form != "f32" and rules.mode == "common":
            wire = self._feedback.take(target, base, rules.form)
            target.values |= {n: v.astype(np.float32) for n, v in applied(base, target.patterns, wire).items()}
            self._wire = wire
        self.model = target
        return moved

    # -- saved state

    def state(self) -> dict[str, Any]:
        """Plain values and arrays between two rounds; what came in an open round is not in it."""
        wire = None if self._wire is None else {
            n: {"steps": w.steps, "scale": None if w.scale is None else float(w.scale)} for n, w in self._wire.items()
        }  # fmt: skip
        return {
            "rules": asdict(self.rules), "round": self.round, "void": self.void, "refused": dict(self.refused),
            "model": model_state(self.model), "feedback": self._feedback.state(), "norms": self._norms.state(),
            "wire": wire,
            "sent": [[d, s.digest, list(s.labels), s.budget, s.round] for d, s in self._sent.items()],
            "features": [[d, list(labels), vars(sums)] for d, (labels, sums) in self._features.items()],
        }  # fmt: skip

    @staticmethod
    def from_state(state: Mapping[str, Any], names: Iterable[str] | None = None) -> Rounds:
        """Go on from `state`."""
        found = Rounds(model_from(state["model"]), Rules(**state["rules"]), names)
        found.round, found.void = int(state["round"]), int(state["void"])
        found.refused |= {k: int(v) for k, v in state["refused"].items()}
        found._feedback.load(state["feedback"])
        found._norms.load(state["norms"])
        if state["wire"] is not None:
            found._wire = {
                n: Wire(w["steps"], None if w["scale"] is None else np.float32(w["scale"]))
                for n, w in state["wire"].items()
            }
        found._sent = {d: _Sent(digest, tuple(labels), dict(b), r) for d, digest, labels, b, r in state["sent"]}
        found._features = {d: (tuple(labels), Sums(**sums)) for d, labels, sums in state["features"]}
        found._begin()
        return found


def model_state(model: FleetModel) -> dict[str, Any]:
    """Plain values and arrays."""
    return {
        "schema": model.schema.to_json(), "labels": list(model.labels), "values": dict(model.values),
        "patterns": dict(model.patterns), "sums": None if model.sums is None else dict(vars(model.sums)),
    }  # fmt: skip


def model_from(state: Mapping[str, Any]) -> FleetModel:
    """The inverse of `model_state`."""
    sums = None if state["sums"] is None else Sums(**state["sums"])
    return FleetModel(
        Schema.from_json(state["schema"]), tuple(state["labels"]), dict(state["values"]), dict(state["patterns"]), sums
    )
