"""What a stream's records look like: the shape and type of a sample and of the fields stored beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import BadRecord, WrongStream

SAMPLE_DTYPES = ("uint8", "float32", "float16")
FIELD_DTYPES = ("float16", "float32", "uint8", "int8", "int32")
CODECS = ("raw", "zstd", "png", "jpeg", "int8")  # a record names its codec by position
MAX_SAMPLE_BYTES = (1 << 24) - 1  # the length field of a record has 24 bits
MAX_FIELD_BYTES = (1 << 16) - 1


@dataclass(frozen=True)
class FieldSpec:
    """One vector stored beside a sample: ``width`` is its largest number of elements; a shorter one keeps
    its width.

    ``version`` changes when the meaning of the values does (another network, another cut).
    """

    dtype: str = "float16"
    width: int = 1
    version: int = 1

    @property
    def bytes(self) -> int:
        """Bytes of the widest value."""
        return self.width * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class StreamSchema:
    """Shape and dtype of a sample (without the batch axis), the fields that may stand beside it, and the codec.

    codec: ``raw``, ``zstd[:LEVEL]``, ``png``, ``jpeg[:QUALITY]`` (uint8 [1 or 3, H, W]), ``int8[:channel]``
    (float32; one scale per sample or per first axis). See codecs.py.
    """

    sample_shape: tuple[int, ...]
    sample_dtype: str = "uint8"
    fields: Mapping[str, FieldSpec] = field(default_factory=dict)
    codec: str = "raw"

    def __post_init__(self) -> None:
        object.__setattr__(self, "sample_shape", tuple(int(n) for n in self.sample_shape))
        object.__setattr__(self, "fields", dict(self.fields))
        if self.sample_dtype not in SAMPLE_DTYPES:
            raise BadRecord(
                f"Sample dtype '{self.sample_dtype}' cannot be stored.", f"Use {' or '.join(SAMPLE_DTYPES)}."
            )
        if not self.sample_shape or min(self.sample_shape) < 1:
            raise BadRecord(f"Sample shape {self.sample_shape} is empty.", "Give at least one axis, each of size >= 1.")
        if self.sample_bytes > MAX_SAMPLE_BYTES:
            raise BadRecord(f"A sample of {self.sample_bytes} bytes is too large.", f"The limit is {MAX_SAMPLE_BYTES}.")
        check_codec(self.codec, self.sample_shape, self.sample_dtype)
        if len(self.fields) > 255:
            raise BadRecord(f"{len(self.fields)} fields are too many.", "The limit is 255.")
        for name, spec in self.fields.items():
            if spec.dtype not in FIELD_DTYPES:
                raise BadRecord(f"Field '{name}' has dtype '{spec.dtype}'.", f"Use one of {', '.join(FIELD_DTYPES)}.")
            if not spec.width >= 1 or spec.bytes > MAX_FIELD_BYTES:
                raise BadRecord(f"Field '{name}' has width {spec.width}.", f"Use 1 to {MAX_FIELD_BYTES} bytes.")
            if not 0 <= spec.version <= 255:
                raise BadRecord(f"Field '{name}' has version {spec.version}.", "Use 0 to 255.")

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample."""
        return math.prod(self.sample_shape) * np.dtype(self.sample_dtype).itemsize

    def to_json(self) -> str:
        """Canonical JSON text; the order of the fields is part of the format (a record names its field by
        index).
        """
        fields = [[n, s.dtype, s.width, s.version] for n, s in self.fields.items()]
        return json.dumps(
            {"shape": list(self.sample_shape), "dtype": self.sample_dtype, "fields": fields, "codec": self.codec}
        )

    @staticmethod
    def from_json(text: str) -> StreamSchema:
        """The inverse of `to_json`; `WrongStream` when the text is not a schema."""
        try:
            data: dict[str, Any] = json.loads(text)
            fields = {str(n): FieldSpec(str(d), int(w), int(v)) for n, d, w, v in data["fields"]}
            return StreamSchema(tuple(data["shape"]), str(data["dtype"]), fields, str(data.get("codec", "raw")))
        except (ValueError, KeyError, TypeError) as error:
            raise WrongStream(f"The stored schema cannot be read ({error}).", "Use another directory.") from error

    def difference(self, other: StreamSchema) -> str | None:
        """What differs, in words (ours first), or None when records of one fit the other. The codec is no part
        of that: it concerns flash alone.
        """
        if self.sample_shape != other.sample_shape:
            return f"sample shape {self.sample_shape} against {other.sample_shape}"
        if self.sample_dtype != other.sample_dtype:
            return f"sample dtype {self.sample_dtype} against {other.sample_dtype}"
        if list(self.fields) != list(other.fields):
            return f"fields {list(self.fields)} against {list(other.fields)}"
        for name, spec in self.fields.items():
            if spec != other.fields[name]:
                return f"field '{name}' {spec} against {other.fields[name]}"
        return None


def check_codec(text: str, shape: tuple[int, ...], dtype: str) -> None:
    """`BadRecord` when a codec is unknown or does not fit the samples."""
    name, colon, option = text.partition(":")
    image = dtype == "uint8" and (len(shape) == 2 or (len(shape) == 3 and shape[0] in (1, 3)))
    fits = {"raw": not colon, "zstd": True, "png": image and not colon, "jpeg": image, "int8": dtype == "float32"}
    limits = {"zstd": range(1, 20), "jpeg": range(1, 96)}
    if name not in fits:
        raise BadRecord(f"Codec '{text}' is unknown.", f"Use one of {', '.join(CODECS)}.")
    if not fits[name]:
        remedy = "png and jpeg take uint8 [1 or 3, H, W], int8 takes float32, zstd takes anything."
        raise BadRecord(f"Codec '{text}' does not fit {dtype} samples of shape {shape}.", remedy)
    if colon and name == "int8" and option != "channel":
        raise BadRecord(f"Codec '{text}' is unknown.", "Use int8 (a scale per sample) or int8:channel.")
    if colon and name in limits and not (option.isdigit() and int(option) in limits[name]):
        raise BadRecord(f"Codec '{text}' is unknown.", "Use zstd:1 to zstd:19, or jpeg:1 to jpeg:95.")
