"""Header of an update: what it says of itself, each value checked before it is used."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..storage.bounded import parse_json
from .model import Label, check_labels
from .quantise import FORMATS
from .refusals import BadUpdate

FORMAT = 1
KINDS = ("model", "update")
FORMS = (*FORMATS, "none")  # none: nothing changed since the base
LONGEST = 1 << 20
_DIGEST = re.compile(r"[0-9a-f]{64}")
DEVICE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MOST = 1 << 40


@dataclass(frozen=True)
class Header:
    """kind : ``model`` (server to device) or ``update`` (device to server)
    network, base, pattern, labels_digest, model : digests of schema, base (None: whole), patterns, labels, and of the
        model that results ("" in an update)
    labels : of the head's rows;  form : one of `FORMS`
    counts : in an update, samples of each label: what its rows weigh; else none
    patterns, values, sums : bytes of the three parts that follow; 0 patterns: the receiver has them
    device, round, samples, steps : who, when, how many samples were trained on in how many steps
    """

    kind: str
    network: str
    base: str | None
    pattern: str
    model: str
    labels: tuple[Label, ...]
    counts: tuple[int, ...]
    labels_digest: str
    form: str
    patterns: int
    values: int
    sums: int
    device: str
    round: int
    samples: int
    steps: int

    def to_bytes(self) -> bytes:
        lists = {"labels": list(self.labels), "counts": list(self.counts)}
        return json.dumps({"format": FORMAT, **self.__dict__, **lists}).encode()


def read_header(text: bytes) -> Header:
    """Raises `BadUpdate` (format, labels) for anything that is not exactly a header."""
    try:
        found = parse_json(text)
        if not isinstance(found, dict):
            raise ValueError("it is no object")
        if found.get("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        if found.keys() - {"format"} != Header.__dataclass_fields__.keys():
            raise ValueError("it has other fields")
        _check(found)
    except (ValueError, KeyError, TypeError) as error:
        raise BadUpdate("format", f"The header cannot be read: {error}.") from error
    try:
        labels = check_labels(found["labels"])
    except ValueError as error:
        raise BadUpdate("labels", f"The labels cannot be used: {error}.") from error
    if len(found["counts"]) != (len(labels) if found["kind"] == "update" else 0):
        raise BadUpdate("labels", "There is not a count for each label.")
    more = {"labels": labels, "counts": tuple(found["counts"])}
    return Header(**{k: v for k, v in found.items() if k != "format"} | more)


def _check(found: Mapping[str, Any]) -> None:
    for name, among in (("kind", KINDS), ("form", FORMS)):
        if not isinstance(found[name], str) or found[name] not in among:
            raise ValueError(f"its {name} is unknown")
    for name in ("network", "pattern", "labels_digest"):
        if not isinstance(found[name], str) or not _DIGEST.fullmatch(found[name]):
            raise ValueError(f"'{name}' is no digest")
    base, model = found["base"], found["model"]
    if base is not None and not (isinstance(base, str) and _DIGEST.fullmatch(base)):
        raise ValueError("'base' is no digest")
    if not isinstance(model, str) or not (_DIGEST.fullmatch(model) if found["kind"] == "model" else model == ""):
        raise ValueError("'model' is no digest")
    if base is None and found["form"] != "f32":
        raise ValueError("differences without a base")
    if not isinstance(found["device"], str) or not DEVICE.fullmatch(found["device"]):
        raise ValueError("'device' is no name")
    if not isinstance(found["counts"], list) or not all(type(n) is int and 0 <= n < _MOST for n in found["counts"]):
        raise ValueError("'counts' are none")
    for name in ("patterns", "values", "sums", "round", "samples", "steps"):
        if type(found[name]) is not int or not 0 <= found[name] < _MOST:
            raise ValueError(f"'{name}' is no count")
