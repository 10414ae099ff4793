"""Options of a user's own data: how it is read, and how it is cut into a stream; each value as people write it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..errors import BadInput, unknown_name

COLOURS = {"white": (255, 255, 255), "black": (0, 0, 0), "grey": (128, 128, 128), "gray": (128, 128, 128)}
AXES = ("chw", "hwc", "hw", "ct", "tc", "t", "f")
ROLES = ("label", "subject", "time", "task", "split", "domain", "file", "x")
FOLDERS = ("class", "class/group", "class/subject", "domain/class", "subject/class")
BY = ("class", "subject", "time", "file", "domain", "task")
ORDERS = ("natural", "random", "given")
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "min": 60.0}


@dataclass(frozen=True)
class Reading:
    """What changes the converted samples; part of the key of the cache. None: the program chooses and says so.

    size        : side of pictures, 'HxW', 'auto' or 'keep'; background : colour under what is transparent
    skip_broken : leave files out that cannot be read, instead of refusing them all
    folders     : what the levels of folders are, one of `FOLDERS`
    axes        : order of a sample's axes; columns : roles of a table's columns, 'label=NAME,time=NAME'
    window, hop, sample_rate : steps or seconds of a window, of the way to the next, and steps a second
    test_split  : share of every class, 'subject', 'subject:NAMES', 'file', with ':SHARE' at will
    """

    size: str | None = None
    background: str | None = None
    skip_broken: bool = False
    folders: str | None = None
    axes: str | None = None
    columns: str | None = None
    window: str | None = None
    hop: str | None = None
    sample_rate: float | None = None
    test_split: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Reading:
        return Reading(**{f.name: values[f.name] for f in fields(Reading) if f.name in values})

    @property
    def roles(self) -> dict[str, str]:
        """Column name by role."""
        return dict(part.split("=", 1) for part in self.columns.split(",")) if self.columns else {}

    @property
    def under(self) -> tuple[int, int, int]:
        """The background's red, green and blue."""
        return rgb(self.background or "white")


@dataclass(frozen=True)
class Cutting:
    """How a data set becomes tasks. None: the program chooses and says so. seed: of a random order."""

    by: str | None = None
    classes_per_task: int | None = None
    task_count: int | None = None
    order: str | None = None
    seed: int = 0

    @property
    def given(self) -> bool:
        return (self.by, self.classes_per_task, self.task_count, self.order) != (None,) * 4


# --- values ------------------------------------------------------------------------------------------------


def size(name: str, raw: Any) -> str:
    """``96``, ``64x96`` (height x width), ``auto`` or ``keep``."""
    text = str(raw).strip().lower()
    found = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", text)
    if text in ("auto", "keep"):
        return text
    if isinstance(raw, bool) or found is None or not all(1 <= int(g) <= 4096 for g in found.groups() if g):
        raise BadInput(f"{name} is '{raw}'.", "Give pixels such as 96 or 64x96 (height x width), auto, or keep.")
    return text


size.metavar = lambda: "N|HxW|auto|keep"  # type: ignore[attr-defined]


def pixels(text: str) -> tuple[int, int]:
    """(height, width) of a size in pixels."""
    parts = [int(part) for part in text.split("x")]
    return parts[0], parts[-1]


def colour(name: str, raw: Any) -> str:
    """A name, ``#rrggbb``, or a grey value 0..255."""
    text = str(raw).strip().lower()
    try:
        rgb(text)
    except ValueError:
        known = ", ".join(c for c in COLOURS if c != "gray")
        raise BadInput(f"{name} is '{raw}'.", f"Give {known}, #rrggbb, or a grey value from 0 to 255.") from None
    return text


colour.metavar = lambda: "COLOUR"  # type: ignore[attr-defined]


def rgb(text: str) -> tuple[int, int, int]:
    """Red, green and blue of a colour as `colour` takes it. ValueError for anything else."""
    if text in COLOURS:
        return COLOURS[text]
    if found := re.fullmatch(r"#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})", text):
        return int(found[1], 16), int(found[2], 16), int(found[3], 16)
    grey = int(text)
    if not 0 <= grey <= 255:
        raise ValueError(text)
    return grey, grey, grey


def axes(name: str, raw: Any) -> str:
    """One of `AXES`: channels, height, width; channels and time; features."""
    text = str(raw).strip().lower()
    if text not in AXES:
        raise unknown_name(name, str(raw), AXES)
    return text


axes.metavar = lambda: "|".join(AXES)  # type: ignore[attr-defined]


def folders(name: str, raw: Any) -> str:
    """One of `FOLDERS`."""
    text = str(raw).strip().strip("/").lower()
    if text not in FOLDERS:
        raise unknown_name(name, str(raw), FOLDERS)
    return text


folders.metavar = lambda: "|".join(FOLDERS)  # type: ignore[attr-defined]


def columns(name: str, raw: Any) -> str:
    """``label=NAME,time=NAME``: the column of each role; ``x=A+B+C`` names those of the samples."""
    kept = []
    for part in str(raw).split(","):
        role, _, column = (piece.strip() for piece in part.partition("="))
        if role not in ROLES or not column:
            raise BadInput(f"{name} has the part '{part.strip()}'.", f"Write ROLE=COLUMN; roles: {', '.join(ROLES)}.")
        kept.append(f"{role}={column}")
    return ",".join(kept)


columns.metavar = lambda: "ROLE=NAME,.."  # type: ignore[attr-defined]


def window(name: str, raw: Any) -> str:
    """Steps (``128``) or time (``2.56s``), or ``whole``: every series is resampled to one length."""
    text = str(raw).strip().lower()
    if text == "whole":
        return text
    return _length(name, raw, "128 (steps), 2.56s, or whole")


def hop(name: str, raw: Any) -> str:
    """Steps, time, or a share of the window: ``50%``."""
    text = str(raw).strip().lower()
    if found := re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", text):
        if not 0 < float(found[1]) <= 1000:
            raise BadInput(f"{name} is '{raw}'.", "Give a share above 0 %, such as 50%.")
        return f"{found[1]}%"
    return _length(name, raw, "64 (steps), 1.28s or 50%")


window.metavar = lambda: "N|TIME|whole"  # type: ignore[attr-defined]
hop.metavar = lambda: "N|TIME|P%"  # type: ignore[attr-defined]


def _length(name: str, raw: Any, example: str) -> str:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|ms|us|min)?", str(raw).strip().lower())
    whole = found is not None and (found[2] is not None or float(found[1]) == int(float(found[1])))
    if isinstance(raw, bool) or found is None or not whole or float(found[1]) <= 0:
        raise BadInput(f"{name} is '{raw}'.", f"Write it like {example}.")
    return f"{float(found[1]):g}{found[2]}" if found[2] else str(int(float(found[1])))


def in_steps(text: str, rate: float | None, what: str) -> int:
    """Steps of a length in steps or time. BadInput where a time meets data of unknown rate."""
    found = re.fullmatch(r"([\d.e+]+)(s|ms|us|min)?", text)
    assert found is not None
    if found[2] is None:
        return max(1, int(float(found[1])))
    if rate is None:
        raise BadInput(
            f"{what} is {text}, and the data does not say how many steps a second has.",
            f"Give --sample-rate, such as --sample-rate 50, or --{what} in steps.",
        )
    return max(1, round(float(found[1]) * SECONDS[found[2]] * rate))


def sample_rate(name: str, raw: Any) -> float:
    """Steps a second: ``50`` or ``50Hz``, ``16kHz``."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(k?hz)?", str(raw).strip().lower())
    value = 0.0 if found is None else float(found[1]) * (1000 if found[2] == "khz" else 1)
    if isinstance(raw, bool) or not 0 < value < 1e9:
        raise BadInput(f"{name} is '{raw}'.", "Give steps a second, such as 50 or 50Hz.")
    return value


sample_rate.metavar = lambda: "HZ"  # type: ignore[attr-defined]


def test_split(name: str, raw: Any) -> str:
    """``0.2``, ``subject``, ``file``, ``subject:0.3``, ``subject:anna,ben``."""
    text = str(raw).strip()
    kind, _, rest = text.partition(":")
    if kind in ("subject", "file"):
        if not rest and ":" in text:
            raise BadInput(f"{name} is '{raw}'.", f"Write {kind}, {kind}:0.2, or {kind}:NAME,NAME.")
        return text
    share = kind if not rest else rest if kind == "share" else ""
    try:
        inside = 0 < float(share) < 1
    except ValueError:
        inside = False
    if isinstance(raw, bool) or not inside:
        raise BadInput(f"{name} is '{raw}'.", "Give a share such as 0.2, subject, file, or subject:NAME,NAME.")
    return f"{float(share):g}"


test_split.metavar = lambda: "X|subject|file"  # type: ignore[attr-defined]
