"""The gate after conversion: what was understood of a user's data, what was left out, and what is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BadInput

NAMED = 100  # broken files that a refusal names; the others are counted


class Refused(BadInput):
    """Data that cannot be used. facts : what was found before it was refused, as `Gate.facts` gives it"""

    def __init__(self, cause: str, remedy: str, facts: Mapping[str, Any]) -> None:
        super().__init__(cause, remedy)
        self.facts = dict(facts)


class Gate:
    """Collects what a conversion found and decides whether it may pass.

    kind : 'pictures', 'windows', 'sounds' or 'features'; notes : what was done to the samples, a few words each
    """

    def __init__(self, place: Path, skip_broken: bool = False) -> None:
        self.place, self.skip_broken = place, skip_broken
        self.kind = "features"
        self.forms: set[str] = set()  # what options may act on: pictures, series, sounds, table, arrays
        self.left_out: Counter[str] = Counter()
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self._broken: list[tuple[str, str]] = []  # name, reason
        self._beside: list[str] = []  # a system's files
        self._lost: dict[str, Counter[str]] = {}  # class -> reasons
        self._first: np.ndarray | None = None
        self._seen = self._constant = 0
        self._alike = True

    # -- while reading

    def leave_out(self, reason: str, count: int = 1, name: Path | None = None) -> None:
        """Something that is no sample, such as a system's file."""
        self.left_out[reason] += count
        if name is not None:
            self._beside.append(self._shown(name))

    def broken(self, name: str | Path, reason: str, label: str | None = None) -> None:
        """A sample that cannot be read; `settle` refuses it or leaves it out."""
        self._broken.append((self._shown(name), reason))
        if label is not None:
            self._lost.setdefault(label, Counter())[reason] += 1

    def _shown(self, name: str | Path) -> str:
        if isinstance(name, Path) and name.is_relative_to(self.place):
            return str(name.relative_to(self.place))
        return str(name)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)

    def look(self, block: np.ndarray) -> None:
        """Note which of ``block`` [k, C, H, W] hold one value a channel, and whether all are alike."""
        if not len(block):
            return
        flat = block.reshape(len(block), block.shape[1], -1)
        if flat.shape[2] > 1:
            self._constant += int((flat == flat[:, :, :1]).all(axis=(1, 2)).sum())
        if self._first is None:
            self._first = block[0].copy()
        self._alike = self._alike and bool((block == self._first).all())
        self._seen += len(block)

    # -- before anything is kept

    def settle(self, labels: Iterable[str | int]) -> None:
        """Refuse, or leave out and count, what was broken. ``labels`` : the label of every sample that was read.

        Raises `Refused` that names all broken files at once, and where a class would lose all its files.
        """
        kept = Counter(str(label) for label in labels)
        gone = {label: sum(lost.values()) for label, lost in self._lost.items() if not kept[label]}
        about = "".join(f" Class '{label}' would lose all its {n} files." for label, n in gone.items())
        if self._broken and (gone or not self.skip_broken):
            named = ", ".join(f"{name} ({reason})" for name, reason in self._broken[:NAMED])
            more = f", and {len(self._broken) - NAMED} more" if len(self._broken) > NAMED else ""
            if self._beside:
                more += f". Left out anyway, as a system's files: {', '.join(self._beside[:NAMED])}"
            found = len(self._broken) + sum(kept.values())
            cures = {r.split(": ", 1)[1] for _, r in self._broken if ": pip install" in r}
            remedy = "".join(f"For a decoder: {cure}. " for cure in sorted(cures)) + (
                "Repair them, or remove the class's folder." if gone
                else "Repair or remove them, or give --skip-broken to leave them out."
            )  # fmt: skip
            raise self.refuse(f"{len(self._broken)} of {found} cannot be read: {named}{more}.{about}", remedy, kept)
        for _, reason in self._broken:
            self.left_out[reason] += 1
        for label, lost in self._lost.items():
            n = sum(lost.values())
            self.warn(f"Class '{label}' lost {n} of {n + kept[label]} files: {counted(lost)}.")
        if self._seen > 1 and self._alike:
            remedy = "Check the data; with transparent pictures, try another --background, such as black."
            raise self.refuse(f"All {self._seen} samples are the same.", remedy, kept)
        if self._constant:
            self.warn(f"{self._constant} of {self._seen} samples hold nothing but one value a channel.")

    def refuse(self, cause: str, remedy: str, kept: Mapping[str, int] | None = None) -> Refused:
        """The refusal, with the facts so far."""
        left_out = self.left_out + Counter(reason for _, reason in self._broken)
        facts = {
            "kind": self.kind, "samples": sum((kept or {}).values()), "classes": len(kept or {}), "shape": None,
            "left_out": dict(left_out), "warnings": self.warnings,
        }  # fmt: skip
        return Refused(cause, remedy, facts)

    # -- afterwards

    def facts(self, labels: Sequence[str | int], units: np.ndarray, shape: Sequence[int]) -> dict[str, Any]:
        """What was understood, as JSON; ``line`` says it to a person."""
        counts = np.bincount(units, minlength=len(labels)).tolist()
        line = self._described(len(units), len(labels), shape)
        if self.left_out:
            n = sum(self.left_out.values())
            line += f"; {n} {'file' if n == 1 else 'files'} left out: {counted(self.left_out)}"
        if self.notes:
            line += "; " + "; ".join(self.notes)
        return {
            "kind": self.kind, "samples": len(units), "classes": len(labels), "shape": list(shape),
            "labels": {str(label): n for label, n in zip(labels, counts)}, "left_out": dict(self.left_out),
            "notes": self.notes, "warnings": self.warnings, "line": line,
        }  # fmt: skip

    def _described(self, n: int, classes: int, shape: Sequence[int]) -> str:
        c, h, w = shape
        if self.kind == "pictures":
            return f"{n} pictures, {classes} classes, {c}x{h}x{w}"
        what = {
            "windows": f"windows of {c} {'channel' if c == 1 else 'channels'} x {w} steps",
            "sounds": f"sounds as {c} coefficients x {w} frames",
            "features": f"rows of {c * h * w} values",
        }[self.kind]
        return f"{n} {what}, {classes} classes"


def counted(reasons: Mapping[str, int]) -> str:
    """'20 cut short, 3 empty', the most frequent first."""
    return ", ".join(f"{n} {reason}" for reason, n in sorted(reasons.items(), key=lambda item: (-item[1], item[0])))
