"""Repeats: answers by idempotency key, so that a request that is sent twice is done once."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BadInput
from ..storage.bounded import read_json_file
from ..storage.whole import write_whole

MOST = 4096
_LEAST = 64  # bytes that are worth compressing
_MOST_BYTES = 8 << 20  # of the file
_MOST_IDS = 1 << 24  # of a request


class Repeats:
    """Ids that the last 4,096 requests with a key were answered with, in some 250 bytes of RAM each. Saved with the
    state: after a kill those since then may be done twice.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._answers: dict[bytes, bytes] = {}  # digest of the key: ids, packed; the oldest first
        try:
            for key, answer in read_json_file(path, _MOST_BYTES).items():
                if isinstance(answer, str):
                    digest, packed = bytes.fromhex(key), base64.b64decode(answer)
                    _unpacked(packed)
                else:  # of an earlier version
                    digest, packed = _digest(key), _packed(answer["ids"])
                self._answers[digest] = packed
        except (OSError, ValueError, AttributeError, TypeError, KeyError, OverflowError, zlib.error):
            self._answers.clear()  # none yet, or none that can be read

    @staticmethod
    def checked(key: str | None) -> str | None:
        if key is not None and not re.fullmatch(r"[\x21-\x7e]{1,128}", key):
            raise BadInput("The Idempotency-Key cannot be used.", "Give 1 to 128 printable characters.")
        return key

    def find(self, key: str | None) -> dict[str, Any] | None:
        """The answer that was given, or None."""
        with self._lock:
            packed = None if key is None else self._answers.get(_digest(key))
        return None if packed is None else answer_of(_unpacked(packed))

    def keep(self, key: str | None, ids: list[int]) -> None:
        if key is not None:
            with self._lock:
                self._answers[_digest(key)] = _packed(ids)
                while len(self._answers) > MOST:
                    del self._answers[next(iter(self._answers))]

    def save(self) -> None:
        """Raises `OSError`."""
        with self._lock:
            text = {key.hex(): base64.b64encode(packed).decode() for key, packed in self._answers.items()}
        write_whole(self._path, json.dumps(text).encode())


def answer_of(ids: list[int]) -> dict[str, Any]:
    """What a request that brought these samples is answered."""
    return {"taken": len(ids), "ids": ids}


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=16).digest()


def _packed(ids: list[int]) -> bytes:
    """Differences, which are mostly 1, as int64; compressed where there are many, behind a byte that says so."""
    raw = np.diff(np.array(ids, np.int64), prepend=0).tobytes()
    return b"r" + raw if len(raw) <= _LEAST else b"z" + zlib.compress(raw)


def _unpacked(packed: bytes) -> list[int]:
    """The inverse. Raises `ValueError` or `zlib.error` for what is none."""
    raw = packed[1:]
    if packed[:1] == b"z":
        stream = zlib.decompressobj()
        raw = stream.decompress(raw, _MOST_IDS * 8)
        if not stream.eof:
            raise ValueError("more ids than a request brings")
    ids: list[int] = np.frombuffer(raw, np.int64).cumsum().tolist()
    return ids
