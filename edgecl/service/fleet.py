"""FleetSide: the daemon's part in a fleet: whether it takes part, a round as a job, and what a round may serve."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..devices.sensors.battery import battery_state
from ..errors import BadInput, EdgeclError
from ..fleet.codec import peek
from ..fleet.member import Member
from ..fleet.weights import read, schema_of
from ..storage.bounded import read_json_file
from ..storage.whole import write_whole
from .config import ServiceConfig
from .device import budgets
from .held import Held
from .journal import Journal
from .judge import compare
from .refusals import Refused
from .schedule import Schedule, within_hours
from .watching import Watching

DAY = 86400.0
KEPT = 4096  # rounds that are known to a forgetting receipt


class FleetSide:
    """safe : why the service is in safe mode, or None
    refused : rounds not taken part in, by reason;  rounds : taken part in, by whether the model passed or was kept
    bytes : received and sent in this life
    """

    def __init__(
        self, config: ServiceConfig, held: Held, journal: Journal, watching: Watching, schedule: Schedule,
        safe: Callable[[], str | None],
    ) -> None:  # fmt: skip
        self._config, self._held, self._journal, self._watching = config, held, journal, watching
        self._schedule, self._safe = schedule, safe
        self._folder = config.state / "fleet"
        self.refused: Counter[str] = Counter()
        self.rounds: Counter[str] = Counter()
        self.bytes = {"down": 0, "up": 0}
        self._member: Member | None = None
        self._day = self._read_day()

    # -- what the server asks before a round

    def about(self) -> dict[str, Any]:
        """What the server has to know: name, labels, what it has, and why it takes no part in a round now, or None."""
        learner = self._held.learner
        member = self._open()
        state = learner.model.state()
        known = member.known(learner.units, read(member.schema, state, ()).living)
        return {
            "device": known.device, "labels": list(known.labels), "base": known.base, "pattern": known.pattern,
            "budget": dict(known.budget), "network": member.schema.digest, "samples": self._samples,
            "steps": self._config.fleet.steps, "refused": self.refusal(),
        }  # fmt: skip

    @property
    def _samples(self) -> int:
        facts = self._held.facts()
        return int(facts["stored"] or facts["buffered"])

    def refusal(self, coming: int = 0) -> str | None:
        """Why it takes no part now, in a word that metrics count; None: it does. ``coming``: bytes of a message."""
        fleet = self._config.fleet
        if not fleet.join:
            return "not joined"
        if self._safe() is not None or self._schedule.paused:
            return "paused"
        if self._held.resting:
            return "resting"
        if not fleet.on_battery and (battery := battery_state()) is not None and not battery.external:
            return "on battery"
        if fleet.hours is not None and not within_hours(fleet.hours, time.localtime()):
            return "hours"
        if fleet.bytes_per_day is not None and self._spent + coming >= fleet.bytes_per_day:
            return "bytes a day"
        if any(used >= most for _, used, most in budgets(self._config.budget, self._held.facts())):
            return "budget"
        return "few samples" if self._samples < fleet.least else None

    # -- a round

    def begin(self, message: bytes, steps: int) -> dict[str, Any]:
        """One round, on the work thread: the model that came is learned on, and serves only once it passed the gate;
        until then, and where it does not pass, the one that served goes on serving. Plain values of what happened; the
        update waits at `update`. Raises `Refused` (409) where it takes no part, `BadUpdate` for a message that is none.
        """
        held, watching = self._held, self._watching
        reason = self.refusal(len(message))
        if reason is not None:
            self.refused[reason] += 1
            self._journal.write("fleet refusal", held.steps, why=reason)
            raise Refused(409, f"This device takes no part now: {reason}.", "Ask again in a later round.")
        member, number, learner = self._open(), peek(message).round, held.learner
        self._meter("down", len(message))
        member.receive(message)
        watching.before_slice()
        before, kept = watching.answers(), learner.model.state()
        held.stand(True)
        try:
            learner.model.load(member.adopted(kept, learner.units))
            log = held.learn(steps=min(steps, self._config.fleet.steps))
            counts = watching.holdout.seen or None
            state, samples = learner.model.state(), self._samples
            update = member.update(state, learner.units, samples, int(log["steps"]), counts)
            verdict = compare(before, watching.answers(), watching.holdout.options)
            if verdict is not None and verdict.worse:
                learner.model.load(kept)
            else:
                watching.passed()
        except BaseException:
            learner.model.load(kept)
            raise
        finally:
            held.stand(False)
        self._write(member, update)
        self._meter("up", len(update))
        gate = "kept" if verdict is not None and verdict.worse else "passed"
        self.rounds[gate] += 1
        judged = None if verdict is None else {
            "samples": verdict.samples, "before": round(verdict.before, 4), "after": round(verdict.after, 4)
        }  # fmt: skip
        self._journal.write("fleet round", held.steps, round=number, gate=gate, held_out=judged, steps=log["steps"],
                              bytes_down=len(message), bytes_up=len(update))  # fmt: skip
        return {"round": number, "gate": gate, "held_out": judged, "steps": log["steps"], "loss": log["loss"],
                "bytes_down": len(message), "bytes_up": len(update)}  # fmt: skip

    def update(self) -> bytes:
        """What the last round answered. Raises `Refused` (404)."""
        try:
            return (self._folder / "update.bin").read_bytes()
        except OSError:
            raise Refused(404, "No round was taken part in yet.", "POST /v1/fleet/begin first.") from None

    def sent_rounds(self) -> list[int]:
        """Rounds that an update of this device went out in."""
        return [] if self._member is None and not self._path.exists() else [n for n, _, _ in self._open().sent]

    # -- what is kept

    @property
    def _path(self) -> Path:
        return self._folder / "member.safetensors"

    def _open(self) -> Member:
        """The device's side; made anew where the network is another one than it was."""
        fleet, model = self._config.fleet, self._held.learner.model
        if self._member is None and self._path.exists():
            self._member = Member.open(self._path)
        if self._member is None:
            schema = schema_of(model.graph, model.state(), fleet.bn)
            self._member = Member(schema, fleet.name or Member.new_name(), fleet.form, fleet.wanted)
            self._write(self._member, None)
        if fleet.name is not None and self._member.device != fleet.name:
            raise BadInput(f"The state is of the device '{self._member.device}'.", "Leave fleet.name as it was.")
        self._member.form, self._member.wanted = fleet.form, fleet.wanted
        return self._member

    def _write(self, member: Member, update: bytes | None) -> None:
        member.sent = member.sent[-KEPT:]
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            member.save(self._path)
            if update is not None:
                write_whole(self._folder / "update.bin", update)
        except OSError as error:
            raise EdgeclError(f"The fleet's state cannot be written: {error.strerror}.", "Free some space.") from error

    # -- bytes a day: of 24 hours in which the daemon ran, so that no clock renews them

    def _read_day(self) -> dict[str, float]:
        try:
            found = read_json_file(self._folder / "bytes.json", 4096)
            return {"spent": max(0.0, float(found["spent"])), "since": time.monotonic()}
        except (OSError, ValueError, KeyError, TypeError):
            return {"spent": 0.0, "since": time.monotonic()}

    @property
    def _spent(self) -> float:
        if time.monotonic() - self._day["since"] >= DAY:
            self._day = {"spent": 0.0, "since": time.monotonic()}
        return self._day["spent"]

    def _meter(self, way: str, count: int) -> None:
        self.bytes[way] += count
        self._day["spent"] = self._spent + count
        self._folder.mkdir(parents=True, exist_ok=True)
        write_whole(self._folder / "bytes.json", json.dumps({"spent": self._day["spent"]}).encode())
