"""Logs: journald's native datagrams, JSON lines, or text."""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
from typing import Any

JOURNAL = "/run/systemd/journal/socket"
_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
LOGGER = logging.getLogger("edgecl.service")


class Json(logging.Formatter):
    """A line of JSON for each entry."""

    def format(self, record: logging.LogRecord) -> str:
        found: dict[str, Any] = {"time": round(record.created, 3), "level": record.levelname.lower(),
                                 "text": record.getMessage(), "event": getattr(record, "event", "")}  # fmt: skip
        if hasattr(record, "step"):
            found["step"] = record.step
        if record.exc_info:
            found["trace"] = self.formatException(record.exc_info)
        return json.dumps(found)


class Journald(logging.Handler):
    """Fields EDGECL_EVENT, EDGECL_STEP and PRIORITY beside the message."""

    def __init__(self) -> None:
        super().__init__()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.connect(JOURNAL)

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        fields = {"MESSAGE": text, "PRIORITY": str(_PRIORITY.get(record.levelno, 6)),
                  "SYSLOG_IDENTIFIER": "edgecl", "EDGECL_EVENT": getattr(record, "event", ""),
                  "EDGECL_STEP": str(getattr(record, "step", ""))}  # fmt: skip
        try:
            self._socket.send(b"".join(_field(k, v) for k, v in fields.items() if v)[:100_000])
        except OSError:
            self.handleError(record)


def _field(name: str, value: str) -> bytes:
    data = value.encode("utf-8", "replace")
    if b"\n" in data:
        return name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"
    return name.encode() + b"=" + data + b"\n"


def begin_logging(form: str, level: str) -> None:
    """``form``: text, json, journal, or auto: journald's where systemd started us, else text."""
    if form == "auto":
        form = "journal" if os.environ.get("JOURNAL_STREAM") and os.path.exists(JOURNAL) else "text"
    handler: logging.Handler
    if form == "journal":
        handler = Journald()
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(Json() if form == "json" else logging.Formatter("%(levelname)s %(message)s"))
    LOGGER.handlers[:] = [handler]
    LOGGER.propagate = False
    set_level(level)
    quiet = logging.getLogger("uvicorn")
    quiet.handlers[:], quiet.propagate = [handler], False
    quiet.setLevel(logging.ERROR)


def set_level(level: str) -> None:
    LOGGER.setLevel(getattr(logging, level.upper()))
