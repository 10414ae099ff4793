"""Repeats: answers by idempotency key, so that a request that is sent twice is done once."""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

from ..errors import BadInput
from ..storage.bounded import read_json_file
from ..storage.whole import write_whole

MOST = 4096


class Repeats:
    """Of the last 4,096 requests with a key. Saved with the state: after a kill those since then may be done twice."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._answers: OrderedDict[str, Any] = OrderedDict()
        try:
            found = read_json_file(path, 8 << 20)
            self._answers.update((str(k), v) for k, v in found.items())
        except (OSError, ValueError, AttributeError):  # none yet, or none that can be read
            pass

    @staticmethod
    def checked(key: str | None) -> str | None:
        if key is not None and not re.fullmatch(r"[\x21-\x7e]{1,128}", key):
            raise BadInput("The Idempotency-Key cannot be used.", "Give 1 to 128 printable characters.")
        return key

    def find(self, key: str | None) -> Any:
        """The answer that was given, or None."""
        with self._lock:
            return None if key is None else self._answers.get(key)

    def keep(self, key: str | None, answer: Any) -> None:
        if key is not None:
            with self._lock:
                self._answers[key] = answer
                while len(self._answers) > MOST:
                    self._answers.popitem(last=False)

    def save(self) -> None:
        """Raises `OSError`."""
        with self._lock:
            text = json.dumps(self._answers).encode()
        write_whole(self._path, text)
