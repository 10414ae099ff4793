"""Update format 1 (`edgecl-update 1`): one block of bytes for a model that goes out and for what comes back.

    "edgecl-update 1\\n" | length of the header, u32 | header, JSON | patterns | values | sums | sha256 of all before

patterns : a bitmap of each sparse tensor in canonical order, back to back, deflated; left out where they are known
values : first ``<f4`` numbers, tensor by tensor in graph order: head rows, and in int8 the scale of each other tensor;
    then the living weights of all other tensors, in the same order: ``<f4`` values (f32), or differences from the base
    in ``<f2`` (f16) or signed bytes (int8). These lie byte by byte: all lowest bytes, .., all highest bytes; the
    highest, which hold sign and exponent and are alike, are deflated
sums : float64: counts [L], sums [L, d], upper triangle of the second moment

Every size is known from schema, labels and patterns before a part is read; no number is used before it was checked.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass

import numpy as np

from .header import LONGEST, Header, read_header
from .model import Array, FleetModel, Label, Schema, Sums
from .quantise import Wire, applied
from .refusals import BadUpdate
from .squeeze import inflated, packed, unpacked

MAGIC = b"edgecl-update 1\n"
_START, _END = len(MAGIC) + 4, 32
WIDTHS, DTYPES = {"f32": 4, "f16": 2, "int8": 1}, {"f32": "<f4", "f16": "<f2", "int8": "i1"}


@dataclass(frozen=True)
class Update:
    """What was read. ``model``: values float32, or float64 where they are base and differences. ``bytes``: its size."""

    header: Header
    model: FleetModel
    bytes: int


@dataclass(frozen=True)
class About:
    """What a message says of itself beside the model; see `Header`. counts: None: ``samples`` for each label."""

    kind: str
    device: str
    round: int
    samples: int = 0
    steps: int = 0
    counts: tuple[int, ...] | None = None


def encode(
    model: FleetModel, about: About, *, base: FleetModel | str | None = None, wire: dict[str, Wire] | None = None,
    form: str = "f32", patterns: bool = True,
) -> bytes:  # fmt: skip
    """One message.

    base : what the receiver has, or its digest; None: it has nothing
    wire : differences from it (`Feedback.take`), for f16 and int8
    patterns : False where the receiver has them
    """
    own = b""
    if patterns and model.schema.of("sparse"):
        own = zlib.compress(_bitmaps(model), 9)
    values = b"" if form == "none" else _values(model, wire, form)
    sums = b"" if model.sums is None else b"".join(a.tobytes() for a in vars(model.sums).values())
    counts = about.counts if about.counts is not None else (about.samples,) * len(model.labels)
    counts = counts if about.kind == "update" else ()
    header = Header(
        about.kind, model.schema.digest, base.digest if isinstance(base, FleetModel) else base, model.pattern_digest,
        model.digest if about.kind == "model" else "", model.labels, counts, _labels_digest(model.labels), form,
        len(own), len(values), len(sums), about.device, about.round, about.samples, about.steps,
    )  # fmt: skip
    text = header.to_bytes()
    return sealed(b"".join((MAGIC, len(text).to_bytes(4, "little"), text, own, values, sums)))


def sealed(content: bytes) -> bytes:
    """With the checksum that the reader looks at first."""
    return content + hashlib.sha256(content).digest()


def _labels_digest(labels: tuple[Label, ...]) -> str:
    return hashlib.sha256(json.dumps(list(labels)).encode()).hexdigest()


def _bitmaps(model: FleetModel) -> bytes:
    parts = []
    for t in model.schema.of("sparse"):
        bits = np.zeros(t.size, np.uint8)
        bits[model.patterns[t.name]] = 1
        parts.append(np.packbits(bits).tobytes())
    return b"".join(parts)


def _values(model: FleetModel, wire: dict[str, Wire] | None, form: str) -> bytes:
    plain, steps = [], []
    for t in model.schema.tensors:
        if t.kind == "head":
            plain.append(model.values[t.name].astype("<f4").tobytes())
        elif form == "f32":
            steps.append(model.values[t.name].astype("<f4").tobytes())
        else:
            assert wire is not None
            steps.append(wire[t.name].steps.tobytes())
            if form == "int8":
                plain.append(np.float32(wire[t.name].scale).astype("<f4").tobytes())
    return b"".join(plain) + packed(b"".join(steps), WIDTHS[form])


def peek(data: bytes) -> Header:
    """The header of a message whose checksum is right. Raises `BadUpdate`."""
    if len(data) < _START + _END or data[: len(MAGIC)] != MAGIC:
        raise BadUpdate("format", "The bytes are no edgecl-update 1.")
    size = int.from_bytes(data[len(MAGIC) : _START], "little")
    if size > LONGEST or _START + size + _END > len(data):
        raise BadUpdate("size", "The header is longer than the message.")
    if hashlib.sha256(memoryview(data)[:-_END]).digest() != data[-_END:]:
        raise BadUpdate("checksum", "The bytes are not those that were sent.")
    header = read_header(data[_START : _START + size])
    if len(data) != _START + size + header.patterns + header.values + header.sums + _END:
        raise BadUpdate("size", "The parts do not add up to the message.")
    return header


def decode(data: bytes, schema: Schema, known: FleetModel | None = None) -> Update:
    """One message, all of it checked.

    schema : of the fleet;  known : what the sender calls ``base``: its patterns stand in for those left out
    Raises `BadUpdate`, with its name, before anything is used. What is finite here may still be too large: the
    receiver looks at the norm (`rounds`).
    """
    header = peek(data)
    if header.network != schema.digest:
        raise BadUpdate("network", "The update is of another network.", "Give the fleet one network.")
    if header.base is not None and (known is None or known.digest != header.base):
        raise BadUpdate("base", "The update starts from another model than the one that was sent.")
    if _labels_digest(header.labels) != header.labels_digest:
        raise BadUpdate("labels", "The labels are not those of the digest.")
    at = len(data) - _END - header.sums - header.values - header.patterns
    view = memoryview(data)
    patterns = _patterns(view[at : at + header.patterns], schema, header, known)
    at += header.patterns
    values = _read_values(view[at : at + header.values], schema, header, patterns, known)
    at += header.values
    sums = _read_sums(view[at : at + header.sums], schema, len(header.labels))
    model = FleetModel(schema, header.labels, values, patterns, sums)
    if model.pattern_digest != header.pattern:
        raise BadUpdate("pattern", "The patterns are not those of the digest.")
    if header.kind == "model" and model.digest != header.model:
        raise BadUpdate("base", "The model that results is not the one that was sent.", "Ask for the whole model.")
    return Update(header, model, len(data))


def _patterns(part: memoryview, schema: Schema, header: Header, known: FleetModel | None) -> dict[str, Array]:
    sparse = schema.of("sparse")
    if not part:
        if sparse and (known is None or known.pattern_digest != header.pattern):
            raise BadUpdate("pattern", "The update leaves out a pattern that is not known here.", "Send it.")
        return {} if known is None else dict(known.patterns)
    expected = sum(-(-t.size // 8) for t in sparse)
    bits = inflated(part, expected, "pattern")
    found, at = {}, 0
    for t in sparse:
        size = -(-t.size // 8)
        all_bits = np.unpackbits(np.frombuffer(bits, np.uint8, size, at))
        if all_bits[t.size :].any():
            raise BadUpdate("pattern", f"The pattern of '{t.name}' is longer than the tensor.")
        found[t.name] = np.flatnonzero(all_bits[: t.size]).astype(np.int32)
        at += size
    return found


def _read_values(
    part: memoryview, schema: Schema, header: Header, patterns: dict[str, Array], known: FleetModel | None
) -> dict[str, Array]:
    form = header.form
    if form == "none":
        assert known is not None  # `read_header` refuses it without a base
        if part or known.labels != header.labels or known.pattern_digest != header.pattern:
            raise BadUpdate("size", "Nothing changed, and yet there are values, labels or patterns.")
        return dict(known.values)
    counts = {t.name: _count(t.kind, t.size, patterns.get(t.name), header.labels) for t in schema.tensors}
    plain = 4 * sum(counts[t.name] if t.kind == "head" else form == "int8" for t in schema.tensors)
    if len(part) < plain:
        raise BadUpdate("size", f"The values are {len(part)} bytes, head rows and scales alone are {plain}.")
    living = sum(counts[t.name] for t in schema.tensors if t.kind != "head")
    steps = np.frombuffer(unpacked(part[plain:], living, WIDTHS[form]), DTYPES[form])
    values: dict[str, Array] = {}
    wire: dict[str, Wire] = {}
    at = begin = 0
    for t in schema.tensors:
        n = counts[t.name]
        if t.kind == "head":
            values[t.name] = _finite(np.frombuffer(part, "<f4", n, at), t.name).astype(np.float32)
            at += 4 * n
            continue
        own, begin = _finite(steps[begin : begin + n], t.name), begin + n
        if form == "f32":
            values[t.name] = own.astype(np.float32)
            continue
        scale = None
        if form == "int8":
            scale = np.float32(np.frombuffer(part, "<f4", 1, at)[0])
            if not (np.isfinite(scale) and scale > 0):
                raise BadUpdate("number", f"The scale of '{t.name}' is no positive number.")
            at += 4
        wire[t.name] = Wire(own, scale)
    if wire:
        assert known is not None
        with np.errstate(over="ignore"):
            values |= applied(known, patterns, wire)
        for name in wire:
            if np.abs(values[name]).max(initial=0.0) > np.finfo(np.float32).max:
                raise BadUpdate("number", f"'{name}' leaves the range of float32.")
    if header.kind == "model":
        values = {n: v.astype(np.float32) for n, v in values.items()}
    return {t.name: values[t.name] for t in schema.tensors}


def _count(kind: str, size: int, pattern: Array | None, labels: tuple[Label, ...]) -> int:
    if kind == "head":
        return size * len(labels)
    return size if pattern is None else int(pattern.size)


def _finite(array: Array, name: str) -> Array:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise BadUpdate("number", f"'{name}' holds NaN or infinity.")
    return array


def _read_sums(part: memoryview, schema: Schema, labels: int) -> Sums | None:
    if schema.sums is None:
        if part:
            raise BadUpdate("size", "There are sums, and the fleet has none.")
        return None
    width = schema.sums[0]
    if len(part) != 8 * (labels * (1 + width) + schema.second_size):
        raise BadUpdate("size", "The sums are not as long as labels and features ask for.")
    numbers = _finite(np.frombuffer(part, "<f8"), "sums").astype(np.float64)
    counts, sums, second = np.split(numbers, [labels, labels * (1 + width)])
    if (counts < 0).any() or (counts > 2.0**53).any() or (counts != np.rint(counts)).any():
        raise BadUpdate("number", "A count of samples is no count.")
    return Sums(counts, sums.reshape(labels, width), second)
