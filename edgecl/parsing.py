"""Values as people write them: sizes, counts, fractions, durations. Each refuses what it cannot mean."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable
from typing import Any

from .errors import BadInput, unknown_name

Parser = Callable[[str, Any], Any]  # (option name, raw value) -> value

_SIZE_UNITS = {
    "": 1,
    "b": 1,
    **{f"{p}b": 1000**i for i, p in enumerate("kmgt", 1)},
    **{f"{p}ib": 1024**i for i, p in enumerate("kmgt", 1)},
    **{p: 1000**i for i, p in enumerate("kmgt", 1)},
}
_COUNT_UNITS = {"": 1, **{p: 1000**i for i, p in enumerate("kmgtpe", 1)}}
_QUANTITY = re.compile(r"\s*([0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)\s*([a-z]*)\s*", re.IGNORECASE)


def _number(name: str, raw: Any, what: str) -> float:
    if isinstance(raw, bool) or raw is None:
        raise BadInput(f"{name} is {raw!r}.", f"Give {what}.")
    try:
        return float(raw)
    except (TypeError, ValueError, OverflowError):
        raise BadInput(f"{name} is '{raw}', which is not a number.", f"Give {what}.") from None


def _quantity(name: str, raw: Any, units: dict[str, int], example: str) -> int:
    if isinstance(raw, (int, float)) and not isinstance(raw, bool):
        value, factor = _number(name, raw, f"a positive amount, like {example}"), 1
    else:
        found = _QUANTITY.fullmatch(str(raw))
        if found is None or found[2].lower() not in units:
            raise BadInput(f"{name} is '{raw}', which cannot be read.", f"Write it like {example}.")
        value, factor = float(found[1]), units[found[2].lower()]
    if not math.isfinite(value) or value <= 0:
        raise BadInput(f"{name} is {raw}.", f"Give a positive amount, like {example}.")
    return max(1, round(value * factor))


def size(name: str, raw: Any) -> int:
    """Bytes: ``96MB`` (10^6), ``1GiB`` (2^30), or a plain number of bytes."""
    return _quantity(name, raw, _SIZE_UNITS, "96MB or 1GiB")


def amount(name: str, raw: Any) -> int:
    """A large count: ``1e15`` or ``2.5T``."""
    return _quantity(name, raw, _COUNT_UNITS, "1e15 or 2.5T")


_JOULES = {"": 1, "j": 1, "mj": 1e-3, "kj": 1e3, "wh": 3600, "mwh": 3.6, "kwh": 3.6e6}
_SECONDS = {"": 1, "s": 1, "ms": 1e-3, "min": 60, "m": 60, "h": 3600, "d": 86400}


def _real_quantity(name: str, raw: Any, units: dict[str, float], example: str) -> float:
    if isinstance(raw, (int, float)) and not isinstance(raw, bool):
        value = _number(name, raw, f"a positive amount, like {example}")
    else:
        found = _QUANTITY.fullmatch(str(raw))
        if found is None or found[2].lower() not in units:
            raise BadInput(f"{name} is '{raw}', which cannot be read.", f"Write it like {example}.")
        value = float(found[1]) * units[found[2].lower()]
    if not math.isfinite(value) or value <= 0:
        raise BadInput(f"{name} is {raw}.", f"Give a positive amount, like {example}.")
    return value


def energy(name: str, raw: Any) -> float:
    """Joules: ``500J``, ``2Wh``, ``1.5kJ``, or a plain number of joules."""
    return _real_quantity(name, raw, _JOULES, "500J or 2Wh")


def duration(name: str, raw: Any) -> float:
    """Seconds: ``90s``, ``30min``, ``2h``, or a plain number of seconds."""
    return _real_quantity(name, raw, _SECONDS, "90s or 2h")


def size_per_day(name: str, raw: Any) -> int:
    """Bytes a day: ``50MB``, also written ``50MB/day``."""
    if isinstance(raw, str):
        raw = re.sub(r"\s*(/|per\s+)\s*day\s*$", "", raw)
    return size(name, raw)


def store_limit(name: str, raw: Any) -> int | str:
    """Bytes, or ``5000 samples`` (kept as that text)."""
    if isinstance(raw, str) and (found := re.fullmatch(r"\s*(\d+)\s*samples?\s*", raw)):
        if int(found[1]) < 1:
            raise BadInput(f"{name} is '{raw}'.", "Keep at least one sample.")
        return f"{int(found[1])} samples"
    return size(name, raw)


def count(low: int = 0, most: float = math.inf) -> Parser:
    """A whole number of at least ``low`` and at most ``most``."""
    bounds = f"a whole number of at least {low}" + ("" if most == math.inf else f" and at most {most:,}")

    def parse(name: str, raw: Any) -> int:
        value = _number(name, raw, bounds)
        if not math.isfinite(value) or value != int(value) or not low <= value <= most:
            raise BadInput(f"{name} is {raw}.", f"Give {bounds}.")
        return int(value)

    parse.metavar = lambda: "N"  # type: ignore[attr-defined]
    return parse


def fraction(low_open: bool = False, high_open: bool = False, high: float = 1) -> Parser:
    """A fraction between 0 and ``high``, ends excluded as asked. NaN is refused."""

    def parse(name: str, raw: Any) -> float:
        bounds = f"a fraction {'above' if low_open else 'from'} 0 {'and below' if high_open else 'up to'} {high:g}"
        value = _number(name, raw, bounds)
        inside = (value > 0 if low_open else value >= 0) and (value < high if high_open else value <= high)
        if not inside:
            raise BadInput(f"{name} is {raw}.", f"Give {bounds}.")
        return value

    parse.metavar = lambda: "X"  # type: ignore[attr-defined]
    return parse


def real(low: float = 0.0, low_open: bool = False) -> Parser:
    """A finite number of at least (or above) ``low``."""

    def parse(name: str, raw: Any) -> float:
        bounds = f"a finite number {'above' if low_open else 'of at least'} {low:g}"
        value = _number(name, raw, bounds)
        if not math.isfinite(value) or value < low or (low_open and value == low):
            raise BadInput(f"{name} is {raw}.", f"Give {bounds}.")
        return value

    parse.metavar = lambda: "X"  # type: ignore[attr-defined]
    return parse


def choice(known: Iterable[str]) -> Parser:
    """One of the names that ``known`` (a sequence, a mapping) holds when a value is parsed; the closest match is named
    otherwise."""

    def parse(name: str, raw: Any) -> str:
        if str(raw) not in (names := tuple(known)):
            raise unknown_name(name, str(raw), names)
        return str(raw)

    parse.metavar = lambda: "|".join(known)  # type: ignore[attr-defined]
    return parse


def text(name: str, raw: Any) -> str:
    raw = os.fspath(raw) if isinstance(raw, os.PathLike) else raw
    if not isinstance(raw, str) or not raw or "\0" in raw:
        raise BadInput(f"{name} is {raw!r}.", "Give a name or a path.")
    try:
        raw.encode()
    except UnicodeEncodeError:  # bytes of a file name that are no text: records and LMDB cannot hold it
        raise BadInput(f"{name} is {raw!r}, which is not UTF-8.", "Give it another name.") from None
    return raw


def flag(name: str, raw: Any) -> bool:
    if isinstance(raw, bool):
        return raw
    if str(raw).lower() in ("true", "yes", "1", "false", "no", "0"):
        return str(raw).lower() in ("true", "yes", "1")
    raise BadInput(f"{name} is {raw!r}.", "Say true or false.")


def count_or_auto(low: int) -> Parser:
    parse_count = count(low)

    def parse(name: str, raw: Any) -> int | str:
        return "auto" if raw == "auto" else parse_count(name, raw)

    return parse


def real_or_auto(low: float = 0.0, low_open: bool = False) -> Parser:
    parse_real = real(low, low_open)

    def parse(name: str, raw: Any) -> float | str:
        return "auto" if raw == "auto" else parse_real(name, raw)

    parse.metavar = lambda: "X|auto"  # type: ignore[attr-defined]
    return parse


def durability(name: str, raw: Any) -> str:
    """``durable`` or ``batched:MS``."""
    found = re.fullmatch(r"batched:(\d+)", str(raw))
    if raw != "durable" and (found is None or int(found[1]) < 1):
        raise BadInput(f"{name} is '{raw}'.", "Use 'durable' or 'batched:MS', such as batched:1000.")
    return str(raw)
