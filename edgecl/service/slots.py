"""Slots: two models on flash, the last that passed and the one before it, and in RAM the one to go back to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import checkpoint
from ..errors import EdgeclError
from .refusals import Refused

NAMES = ("a", "b")


class Slots:
    """``good``: the state (`LiveModel.state`) of the last model that passed.  slot : name of the slot it belongs to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "slots"
        self.good: dict[str, Any] | None = None
        found = {name: self._read(name) for name in NAMES}
        steps = {name: -1 if state is None else int(state["steps"]) for name, state in found.items()}
        self.slot = max(NAMES, key=lambda name: steps[name])
        self._written = steps[self.slot]

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.safetensors"

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            return checkpoint.read(self._path(name))
        except EdgeclError:
            return None

    @property
    def before(self) -> str:
        """The name of the other slot."""
        return NAMES[1 - NAMES.index(self.slot)]

    def write(self) -> None:
        """Put the good model into the slot of the one before it, which becomes its own. Raises `EdgeclError`."""
        if self.good is not None and int(self.good["steps"]) > max(self._written, 0):
            checkpoint.write(self._path(self.before), self.good)
            self.slot, self._written = self.before, int(self.good["steps"])

    def read_before(self) -> dict[str, Any]:
        """The model before the last that passed. Raises `Refused` (409)."""
        found = self._read(self.before)
        if found is None:
            raise Refused(409, "There is no model before this one.", "Two checkpoints are needed.")
        return found

    def went_back(self) -> None:
        """The model of the other slot lives now."""
        self.slot = self.before
        self._written = 0

    def forget(self) -> None:
        """Nothing is kept: it may carry what was forgotten."""
        self.good = None
        self._written = 0
        for name in NAMES:
            self._path(name).unlink(missing_ok=True)
