"""File formats: segment headers and footers, and the store's description. Little-endian throughout.

Sample segment ``NNNNNNNN.seg``: header (64 bytes), records (native/pack.h), and once it is
full a footer: the class of every record (and subjects, ids where they are not consecutive, and offsets where
lengths vary), so that a lost index is rebuilt without reading the payloads. Field segment
``NNNNNNNN.fld``: header, then field
records.
"""

from __future__ import annotations

import json
import os
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ._storage import crc32c
from .codecs import Codec, make_codec
from .errors import StoreDamaged, StoreError, io_error
from .jsonfile import read_json, write_json
from .schema import StreamSchema
from .sealing import OVERHEAD, sealed_codec

FORMAT = 2  # of segments
STORE_FORMAT = 3  # of a store's folder: 1 and 2 as its segments, 3 has the names of classes in files (naming.py)
READABLE = (1, 2)  # 1: raw samples only, no codec in the description; its segments are read as they are
SAMPLES, FIELDS, CHANGES = b"EDGECLS1", b"EDGECLF1", b"EDGECLC1"
COMPACTED = 1  # header flag: ids are not consecutive, the footer lists them
HEADER_BYTES = 64
_HEADER = struct.Struct("<8sIIQII16s12x")
_FOOT_HEAD = struct.Struct("<II")
_FOOT_TAIL = struct.Struct("<II8s")
_FOOT_MAGIC = b"EDGEFOOT"
_LEAST_FILE, _MOST_FILE = 512, 1 << 30  # bytes of a field file
NO_CLASS, DAMAGED_CLASS = 0xFFFF, 0xFFFE
MAX_CLASS = 0xFFFD


@dataclass(frozen=True)
class Header:
    """Header of a segment; ``crc`` is also the seed of every checksum in it."""

    kind: bytes
    no: int
    first_id: int
    payload: int
    flags: int
    store: bytes
    version: int = FORMAT

    @property
    def packed(self) -> bytes:
        """The 64 bytes on flash."""
        raw = _HEADER.pack(self.kind, self.version, self.no, self.first_id, self.payload, self.flags, self.store)
        return raw + struct.pack("<I", crc32c(raw))

    @property
    def crc(self) -> int:
        return struct.unpack("<I", self.packed[-4:])[0]

    @property
    def compacted(self) -> bool:
        return bool(self.flags & COMPACTED)

    @staticmethod
    def read(fd: int) -> Header | None:
        """The header of an open file, or None when it is not sound."""
        raw = os.pread(fd, HEADER_BYTES, 0)
        if len(raw) != HEADER_BYTES or struct.unpack("<I", raw[-4:])[0] != crc32c(raw[:-4]):
            return None
        kind, version, no, first_id, payload, flags, store = _HEADER.unpack(raw[:-4])
        return Header(kind, no, first_id, payload, flags, store, version) if version in READABLE else None


@dataclass
class Footer:
    """Classes (uint16), subjects (int32 or None), relative ids (uint32 or None) and offsets in the file (uint32
    or None) of a full segment's records.
    """

    classes: np.ndarray
    subjects: np.ndarray | None = None
    rel: np.ndarray | None = None
    offsets: np.ndarray | None = None

    def pack(self, seed: int) -> bytes:
        flags = (self.subjects is not None) | (self.rel is not None) << 1 | (self.offsets is not None) << 2
        body = _FOOT_HEAD.pack(len(self.classes), flags) + self.classes.astype("<u2").tobytes()
        if self.subjects is not None:
            body += self.subjects.astype("<i4").tobytes()
        if self.rel is not None:
            body += self.rel.astype("<u4").tobytes()
        if self.offsets is not None:  # last, so that its place follows from the file's size
            body += self.offsets.astype("<u4").tobytes()
        return body + _FOOT_TAIL.pack(crc32c(body, seed), len(body), _FOOT_MAGIC)

    @staticmethod
    def read(fd: int, size: int, seed: int) -> tuple[Footer, int] | None:
        """The footer of an open file of ``size`` bytes and the offset where it begins, or None."""
        if size < HEADER_BYTES + _FOOT_TAIL.size + _FOOT_HEAD.size:
            return None
        crc, length, magic = _FOOT_TAIL.unpack(os.pread(fd, _FOOT_TAIL.size, size - _FOOT_TAIL.size))
        start = size - _FOOT_TAIL.size - length
        if magic != _FOOT_MAGIC or start < HEADER_BYTES:
            return None
        body = os.pread(fd, length, start)
        if len(body) != length or crc32c(body, seed) != crc:
            return None
        n, flags = _FOOT_HEAD.unpack_from(body)
        at = _FOOT_HEAD.size
        if length != at + n * (2 + 4 * (flags & 1) + 2 * (flags & 2) + (flags & 4)):
            return None
        classes = np.frombuffer(body, "<u2", n, at)
        at += 2 * n
        subjects = np.frombuffer(body, "<i4", n, at) if flags & 1 else None
        at += 4 * n if flags & 1 else 0
        rel = np.frombuffer(body, "<u4", n, at) if flags & 2 else None
        at += 4 * n if flags & 2 else 0
        return Footer(classes, subjects, rel, np.frombuffer(body, "<u4", n, at) if flags & 4 else None), start

    @staticmethod
    def offsets_at(size: int, count: int) -> int:
        """Where the offsets of a file of ``size`` bytes with a footer of ``count`` records stand."""
        return size - _FOOT_TAIL.size - 4 * count


@dataclass(frozen=True)
class Description:
    """``store.json``: written once, when the store is made."""

    store: bytes  # 16 random bytes: which store a segment belongs to
    schema: StreamSchema
    file_bytes: int  # a field file's share of the address space, and the usual size of a segment
    format: int = STORE_FORMAT
    sealed: bool = False  # records are encrypted (sealing.py)

    @property
    def codec(self) -> Codec:
        """How samples are encoded."""
        codec = make_codec(self.schema)
        return sealed_codec(codec) if self.sealed else codec

    @property
    def seal(self) -> int:
        """Bytes that encryption adds to a sample or a field value."""
        return OVERHEAD if self.sealed else 0

    @property
    def payload(self) -> int:
        """The payload in a segment's header: bytes of an encoded sample, or the most where they vary."""
        return self.codec.stored or self.schema.sample_bytes + self.seal

    def write(self, directory: Path) -> None:
        """Replaces ``store.json``; on flash when it returns."""
        data = {
            "format": self.format,
            "store": self.store.hex(),
            "file_bytes": self.file_bytes,
            "sealed": self.sealed,
            "schema": json.loads(self.schema.to_json()),
        }
        write_json(directory / "store.json", data)

    @staticmethod
    def read(directory: Path) -> Description | None:
        """None when there is no store here; `StoreDamaged` or `StoreError` when it cannot be understood."""
        path = directory / "store.json"
        try:
            if not path.exists():
                return None
            data = read_json(path)
            if data["format"] not in range(1, STORE_FORMAT + 1):
                raise StoreError(
                    f"The store in '{directory}' has format {data['format']}, this version reads 1 to {STORE_FORMAT}.",
                    "Use the version of edgecl that wrote it.",
                )
            if not _LEAST_FILE <= int(data["file_bytes"]) <= _MOST_FILE or int(data["file_bytes"]) % 8:
                raise ValueError(f"files of {data['file_bytes']} bytes")
            schema = StreamSchema.from_json(json.dumps(data["schema"]))
            return Description(
                bytes.fromhex(data["store"]), schema, int(data["file_bytes"]), int(data["format"]),
                bool(data.get("sealed", False)),
            )
        except OSError as error:
            raise io_error(error, f"'{path}' cannot be read") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreDamaged(f"'{path}' cannot be read: {error}.", "Restore it or use another directory.") from error
