"""Serving: a fleet's rounds in a folder: the model, what each device was sent, a line a round."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .. import checkpoint
from ..errors import BadInput
from .model import FleetModel, check_labels
from .refusals import BadUpdate
from .rounds import Known, Rounds, Rules

STATE, LINES = "fleet", "rounds.jsonl"


class Serving:
    """The server between its runs. Everything of a closed round is on flash before the next one opens.

    names : devices that may take part; None: any that the network lets in
    """

    def __init__(self, folder: Path, names: Iterable[str] | None = None) -> None:
        saved = checkpoint.load(folder / STATE)
        if saved is None:
            raise BadInput(f"There is no fleet in {folder}.", "Make one with: edgecl fleet new DIR")
        self.folder, self.rounds = folder, Rounds.from_state(saved, names)

    @staticmethod
    def begin(folder: Path, model: FleetModel, rules: Rules) -> None:
        """Write a fleet before its first round. Raises `BadInput` where there is one."""
        if checkpoint.generations(folder / STATE):
            raise BadInput(f"There is a fleet in {folder}.", "Give another folder.")
        checkpoint.save(folder / STATE, Rounds(model, rules).state())

    def message(self, about: Mapping[str, Any]) -> bytes:
        """The model for a device that says ``about`` itself (`GET /v1/fleet`). Raises `BadUpdate`."""
        if about.get("network") != self.rounds.model.schema.digest:
            device = str(about.get("device"))[:64]
            raise BadUpdate("network", f"'{device}' has another network.", "Give it the fleet's [learner].")
        return self.rounds.message(known(about))

    def take(self, data: bytes) -> None:
        """See `Rounds.take`."""
        self.rounds.take(data)

    def close(self, **more: Any) -> dict[str, Any]:
        """End the round; saved, with a line of what happened, when it returns."""
        found = {**self.rounds.close(), **more, "refused": {k: v for k, v in self.rounds.refused.items() if v},
                 "model": self.rounds.model.digest, "time": round(time.time(), 1)}  # fmt: skip
        checkpoint.save(self.folder / STATE, self.rounds.state())
        with open(self.folder / LINES, "a", encoding="utf-8") as file:
            file.write(json.dumps(found) + "\n")
        return found


def known(about: Mapping[str, Any]) -> Known:
    """What a device said, checked. Raises `BadUpdate`."""
    try:
        labels = check_labels(about["labels"])
        budget = {str(k): int(v) for k, v in about["budget"].items()}
        texts = [about[k] for k in ("device", "base", "pattern")]
        if not all(isinstance(t, str) and len(t) <= 64 for t in texts) or any(v < 0 for v in budget.values()):
            raise ValueError("a value is out of range")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadUpdate("format", f"What a device says of itself cannot be read: {error}.") from error
    return Known(texts[0], labels, texts[1], texts[2], budget)
