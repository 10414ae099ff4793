"""Bodies: the forms in which samples come, each parsed by us, sizes checked in Python integers before bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ..errors import BadInput
from ..intake.spec import SampleSpec
from ..storage.bounded import parse_json
from .pictures import picture
from .refusals import Refused

MOST_SAMPLES, MOST_HEADER, MOST_LABEL = 1024, 1024, 128
RAW, NPY, BATCH, JSON = "application/octet-stream", "application/x-npy", "application/x-edgecl", "application/json"
PICTURES = ("image/jpeg", "image/png")
KINDS = (RAW, NPY, BATCH, JSON, *PICTURES)
_NPY = re.compile(
    r"\{'descr': ?'([<>|=]?[uif][1248])', ?'fortran_order': ?(True|False), ?'shape': ?\(((?:\d{1,18},? ?)*)\),? ?\}\s*"
)


@dataclass(frozen=True)
class Samples:
    """x [n, ...] as it came; the rest is None where nobody said it.

    labels : text or whole numbers, one each or one for all
    """

    x: np.ndarray
    labels: Any = None
    subject: int | None = None
    task: Any = None


def check_length(kind: str, length: int, spec: SampleSpec) -> None:
    """Refuse a length that no body of this kind can have, before it is read."""
    if kind == RAW:
        if length == 0 or length % spec.bytes:
            raise BadInput(
                f"{length} bytes are no whole number of samples of {spec.bytes} bytes.",
                f"Send {spec.dtype} samples of shape {tuple(spec.shape)}, one after the other.",
            )
        check_count(length // spec.bytes)


def check_count(count: int) -> None:
    if count > MOST_SAMPLES:
        raise Refused(413, f"{count} samples came at once.", f"Send at most {MOST_SAMPLES}.")
    if count < 1:
        raise BadInput("No sample came.", "Send at least one.")


def read_samples(kind: str, body: bytes, spec: SampleSpec, query: Mapping[str, str]) -> Samples:
    """The samples of a body; what the query says of label, subject and task holds where the body does not.

    Raises `BadInput` or `Refused`.
    """
    check_length(kind, len(body), spec)
    if kind == RAW:
        found = Samples(np.frombuffer(body, spec.dtype).reshape(-1, *spec.shape))
    elif kind == NPY:
        found = Samples(_batched(read_npy(body), spec))
    elif kind == BATCH:
        found = _read_batch(body, spec)
    elif kind == JSON:
        found = _read_json(body, spec)
    else:
        found = Samples(picture(body, kind, spec)[None])
    check_count(len(found.x))
    return _with_query(found, query)


def _with_query(found: Samples, query: Mapping[str, str]) -> Samples:
    labels, subject, task = found.labels, found.subject, found.task
    if labels is None and "label" in query:
        labels = label_of(query["label"])
    if subject is None and "subject" in query:
        subject = whole_number("subject", query["subject"])
    if task is None and "task" in query:
        task = query["task"]
    for label in labels if isinstance(labels, list) else [labels]:
        check_label(label)
    return Samples(found.x, labels, subject, task)


def label_of(text: str) -> str | int:
    """A label in a query: digits are a whole number, text in double quotes is text whatever it holds."""
    if re.fullmatch(r"-?\d{1,18}", text):
        return int(text)
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def check_label(label: Any) -> None:
    if isinstance(label, str) and not 0 < len(label) <= MOST_LABEL:
        raise BadInput(f"A label has {len(label)} characters.", f"Use 1 to {MOST_LABEL}.")
    if isinstance(label, int) and not -(2**53) <= label <= 2**53:
        raise BadInput(f"The label {label} is too large a number.", "Use text.")


def whole_number(name: str, text: Any) -> int:
    if isinstance(text, bool) or not re.fullmatch(r"-?\d{1,18}", str(text)):
        raise BadInput(f"{name} is '{text}'.", "Give a whole number.")
    return int(text)


def read_npy(body: bytes) -> np.ndarray:
    """The one array of an .npy file, a view into ``body``: C order, u1, i1-i4, f2-f8; nothing is unpickled."""
    if body[:6] != b"\x93NUMPY" or body[6:8] not in (b"\x01\x00", b"\x02\x00"):
        raise BadInput("The body is no .npy file of version 1 or 2.", "Send what numpy.save writes.")
    wide = 2 if body[6] == 1 else 4
    length = int.from_bytes(body[8 : 8 + wide], "little")
    start = 8 + wide + length
    if length > MOST_HEADER or start > len(body):
        raise BadInput(f"The .npy header says that it has {length} bytes.", f"It may have {MOST_HEADER}.")
    found = _NPY.fullmatch(body[8 + wide : start].decode("latin-1"))
    if found is None:
        raise BadInput("The .npy header cannot be read.", "Send one array of plain numbers.")
    kind, fortran, shape = found[1].lstrip("=|"), found[2] == "True", found[3]
    dtype = np.dtype(kind)
    if fortran or dtype.str[1:] not in ("u1", "i1", "i2", "i4", "f2", "f4", "f8"):
        raise BadInput(f"The array is {kind}{', in Fortran order' * fortran}.", "Send u1, i1-i4 or f2-f8 in C order.")
    sides = [int(n) for n in re.findall(r"\d+", shape)]
    if len(sides) > 8 or prod(sides) * dtype.itemsize != len(body) - start:
        raise BadInput(
            f"An array {tuple(sides)} of {kind} does not have the {len(body) - start} bytes that came.",
            "Send the whole file.",
        )
    return np.frombuffer(body, dtype, offset=start).reshape(sides)


def _batched(x: np.ndarray, spec: SampleSpec) -> np.ndarray:
    """One sample becomes a batch of one; what does not fit is left for the learner to refuse."""
    return x[None] if x.shape == tuple(spec.shape) else x


def _read_batch(body: bytes, spec: SampleSpec) -> Samples:
    """u32 length, JSON of that length (labels, subject, task, shape, dtype), raw bytes."""
    length = int.from_bytes(body[:4], "little")
    if len(body) < 4 or 4 + length > len(body) or length > 1 << 20:
        raise BadInput(f"The header says that it has {length} bytes.", "It may have 1 MiB, and lies in the body.")
    try:
        about = parse_json(body[4 : 4 + length])
    except ValueError as error:
        raise BadInput(f"The header is no JSON: {error}.", "Send an object.") from error
    _only(about, ("labels", "subject", "task", "shape", "dtype"))
    dtype, raw = str(about.get("dtype", spec.dtype)), memoryview(body)[4 + length :]
    if dtype not in ("uint8", "int8", "int16", "int32", "float16", "float32", "float64"):
        raise BadInput(f"dtype is '{dtype}'.", "Use uint8, int8, int16, int32, float16, float32 or float64.")
    shape = about.get("shape")
    if shape is None:
        one = prod(spec.shape) * np.dtype(dtype).itemsize
        shape = [len(raw) // one, *spec.shape]
    whole = isinstance(shape, list) and 0 < len(shape) <= 8 and all(type(n) is int and n >= 0 for n in shape)
    if not whole or prod(shape) * np.dtype(dtype).itemsize != len(raw):
        raise BadInput(f"Shape {shape} of {dtype} does not have the {len(raw)} bytes that came.", "Send all of them.")
    x = _batched(np.frombuffer(raw, np.dtype(dtype).newbyteorder("<")).reshape(shape), spec)
    return Samples(x, about.get("labels"), _subject(about), about.get("task"))


def _read_json(body: bytes, spec: SampleSpec) -> Samples:
    about = json_object(body, ("samples", "labels", "subject", "task"))
    try:
        x = np.array(about.get("samples"))
    except (ValueError, OverflowError) as error:
        raise BadInput("The samples have different shapes.", f"Give lists of shape {tuple(spec.shape)}.") from error
    if x.dtype.kind not in "iuf":
        raise BadInput("The samples are no numbers.", f"Give lists of shape {tuple(spec.shape)} as 'samples'.")
    return Samples(_batched(x, spec), about.get("labels"), _subject(about), about.get("task"))


def json_object(body: bytes, names: tuple[str, ...]) -> dict[str, Any]:
    """The object of a JSON body, which may be empty. Raises `BadInput` for a name that it may not hold."""
    try:
        about = parse_json(body) if body else {}
    except ValueError as error:
        raise BadInput(f"The body is no JSON: {error}.", "Send an object.") from error
    return _only(about, names)


def _only(about: Any, names: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(about, dict):
        raise BadInput("What came is no object.", f"Send an object of {', '.join(names)}.")
    for name in about:
        if name not in names:
            raise BadInput(f"'{name[:64]}' has no meaning here.", f"Known: {', '.join(names) or 'none'}.")
    return about


def _subject(about: Mapping[str, Any]) -> int | None:
    return None if about.get("subject") is None else whole_number("subject", about["subject"])
