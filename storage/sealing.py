"""Sealed records: samples and field values encrypted with their subject's key (`keys`), around any codec.

A sealed text is the subject (int32), a nonce, the ciphertext of the encoded sample or of the value, and a tag. Its
record says so in the codec byte (`SEALED` beside the inner codec). Compaction copies sealed records as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from .codecs import INT8, RAW, Codec, decode_int8, make_decoder
from .keys import SEAL_BYTES, SubjectKeys
from .schema import StreamSchema

SEALED = 0x80
OVERHEAD = 4 + SEAL_BYTES


def sealed_codec(inner: Codec) -> Codec:
    """The codec of a sealed store: lengths vary, since a store may hold several codecs."""
    return replace(inner, code=SEALED | inner.code, stored=0)


@dataclass
class Sealing:
    """Seals and opens what one store writes and reads."""

    keys: SubjectKeys
    schema: StreamSchema
    inner: Codec

    def encode(self, rows: np.ndarray, subjects: np.ndarray) -> tuple[list[bytes], np.ndarray]:
        """[N, bytes] uint8 -> the sealed encodings and the code of each (uint8)."""
        if self.inner.variable:
            encoded, codes = self.inner.encode_variable(rows)
        else:
            encoded = [row.tobytes() for row in self.inner.encode_fixed(rows)]
            codes = np.full(len(rows), self.inner.code, np.uint8)
        sealed = [self._seal(int(s), text, b"s") for s, text in zip(subjects, encoded)]
        return sealed, codes | SEALED

    def values(self, raw: np.ndarray, subjects: np.ndarray) -> np.ndarray:
        """Values of a field [N, bytes] uint8 -> [N, bytes + OVERHEAD] sealed."""
        texts = [self._seal(int(s), row.tobytes(), b"f") for s, row in zip(subjects, raw)]
        return np.frombuffer(b"".join(texts), np.uint8).reshape(len(raw), raw.shape[1] + OVERHEAD)

    def decoder(self) -> Callable[[int, memoryview, memoryview], bool]:
        """As `make_decoder`, of sealed records; False also where the key is gone."""
        plain = make_decoder(self.schema)

        def decode(code: int, sealed: memoryview, to: memoryview) -> bool:
            text = self._open(sealed, b"s") if code & SEALED else None
            if text is None:
                return False
            inner = code & ~SEALED
            if inner == INT8:
                text = decode_int8(text, self.inner.scales)
            elif inner != RAW:
                return plain(inner, memoryview(text), to)
            if len(text) != len(to):
                return False
            to[:] = text
            return True

        return decode

    def field_decoder(self) -> Callable[[int, memoryview, memoryview], bool]:
        """decode(field, sealed, to) of field values."""

        def decode(_: int, sealed: memoryview, to: memoryview) -> bool:
            text = self._open(sealed, b"f")
            if text is None or len(text) != len(to):
                return False
            to[:] = text
            return True

        return decode

    def _seal(self, subject: int, text: bytes, kind: bytes) -> bytes:
        head = subject.to_bytes(4, "little", signed=True)
        return head + self.keys.seal(subject, text, kind + head)

    def _open(self, sealed: memoryview, kind: bytes) -> bytes | None:
        head = bytes(sealed[:4])
        return self.keys.open(int.from_bytes(head, "little", signed=True), bytes(sealed[4:]), kind + head)
