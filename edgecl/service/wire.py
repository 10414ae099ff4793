"""The client's end of the wire: frames of samples, answers, and refusals as errors."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BadInput, EdgeclError, NothingLearned

Json = dict[str, Any]


class ServiceError(EdgeclError):
    """The service refused: ``status`` of its answer, cause and remedy as it said them."""

    def __init__(self, status: int, cause: str, remedy: str, retry_after: float | None) -> None:
        super().__init__(cause, remedy)
        self.status, self.retry_after = status, retry_after


class Unsuitable(ServiceError, BadInput):
    """The service could not use what was sent (422)."""


class NotLearned(ServiceError, NothingLearned):
    """The service has not learned anything yet (409)."""


def token_in(file: str | Path | None) -> str | None:
    """What a token's file says; None without a file. Raises `OSError`."""
    return None if file is None else Path(file).read_text().strip()


def framed(about: Json, x: np.ndarray) -> bytes:
    text = json.dumps(about).encode()
    return struct.pack("<I", len(text)) + text + x.astype(x.dtype.newbyteorder("<"), copy=False).tobytes()


def read(status: int, body: bytes, headers: Mapping[str, str]) -> Any:
    return json.loads(whole(status, body, headers))


def whole(status: int, body: bytes, headers: Mapping[str, str]) -> bytes:
    if status < 400:
        return body
    try:
        refused = refusal(json.loads(body))
    except (ValueError, KeyError, AttributeError, TypeError):
        refused = ServiceError(status, f"The service answered {status}.", "See its log.", None)
    raise refused


def refusal(found: Json) -> ServiceError:
    kind = ServiceError
    if found["status"] == 422:
        kind = Unsuitable
    elif found["status"] == 409 and found["cause"].startswith("Nothing has been learned"):
        kind = NotLearned
    return kind(found["status"], found["cause"], found["remedy"], found.get("retry_after"))
