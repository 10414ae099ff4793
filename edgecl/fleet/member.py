"""Member: the device's side of a fleet: what it was sent, what it answers, and what rounding owes it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import checkpoint
from ..errors import BadInput
from .codec import About, decode, encode, peek
from .header import DEVICE
from .model import FleetModel, Label, Schema
from .quantise import FORMATS, Feedback
from .refusals import BadUpdate
from .rounds import Known, model_from, model_state
from .weights import read, written


class Member:
    """One device of a fleet.

    device : its name in the fleet; it does not change
    base : the model of the round it is in, as it was sent, or None;  round : that round
    wanted : labels whose rows it is sent though it has no sample of them yet: they are there when the first one comes
    sent : (round, samples, steps) of each update that left, the newest last
    """

    def __init__(self, schema: Schema, device: str, form: str = "f16", wanted: Sequence[Label] = ()) -> None:
        if not DEVICE.fullmatch(device) or form not in FORMATS:
            raise BadInput(f"Device '{device}', format '{form}'.", f"Letters and digits; one of {FORMATS}.")
        self.schema, self.device, self.form, self.wanted = schema, device, form, tuple(wanted)
        self.base: FleetModel | None = None
        self.round = 0
        self.sent: list[tuple[int, int, int]] = []
        self._feedback = Feedback()

    @staticmethod
    def new_name() -> str:
        """A name that no other device has."""
        return secrets.token_hex(8)

    def known(self, units: Sequence[Label | None], living: Mapping[str, int]) -> Known:
        """What the server has to know before it sends."""
        labels = dict.fromkeys([label for label in units if label is not None])
        base, pattern = ("", "") if self.base is None else (self.base.digest, self.base.pattern_digest)
        return Known(self.device, (*labels, *(w for w in self.wanted if w not in labels)), base, pattern, dict(living))

    def receive(self, message: bytes) -> FleetModel:
        """The model of a round. Raises `BadUpdate`, and stays as it was, for one that does not fit."""
        if peek(message).kind != "model":
            raise BadUpdate("format", "An update came where a model was expected.")
        found = decode(message, self.schema, self.base)
        self.base, self.round = found.model, found.header.round
        return self.base

    def adopted(self, state: Mapping[str, Any], units: Sequence[Label | None]) -> dict[str, Any]:
        """A learner's state (`LiveModel.state`) with the weights of `base`."""
        if self.base is None:
            raise BadInput("There is no model of a round yet.", "Receive one first.")
        return written(self.base, state, units)

    def update(
        self, state: Mapping[str, Any], units: Sequence[Label | None], samples: int, steps: int,
        counts: Mapping[Label, int] | None = None,
    ) -> bytes:  # fmt: skip
        """What goes back: how a learner's state differs from `base` after so many steps on so many samples.
        counts : samples of each label; of one that is not there: ``samples``
        """
        if self.base is None:
            raise BadInput("There is no model of a round yet.", "Receive one first.")
        model = read(self.schema, state, units)
        of_labels = None if counts is None else tuple(int(counts.get(label, samples)) for label in model.labels)
        about = About("update", self.device, self.round, samples, steps, of_labels)
        wire = None if self.form == "f32" else self._feedback.take(model, self.base, self.form)
        moved = model.pattern_digest != self.base.pattern_digest
        message = encode(model, about, base=self.base, wire=wire, form=self.form, patterns=moved)
        self.sent.append((self.round, samples, steps))
        return message

    # -- saved state

    def save(self, path: Path) -> None:
        """On flash when it returns. Raises `EdgeclError`."""
        checkpoint.write(path, {
            "schema": self.schema.to_json(), "device": self.device, "form": self.form, "wanted": list(self.wanted),
            "base": None if self.base is None else model_state(self.base), "round": self.round,
            "sent": [list(s) for s in self.sent], "feedback": self._feedback.state(),
        })  # fmt: skip

    @staticmethod
    def open(path: Path) -> Member:
        """What `save` wrote. Raises `EdgeclError`."""
        found = checkpoint.read(path)
        member = Member(Schema.from_json(found["schema"]), found["device"], found["form"], found["wanted"])
        member.base = None if found["base"] is None else model_from(found["base"])
        member.round = int(found["round"])
        member.sent = [(int(r), int(n), int(s)) for r, n, s in found["sent"]]
        member._feedback.load(found["feedback"])
        return member
