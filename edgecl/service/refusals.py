"""Refusals: what a request is told when it cannot be done, as problem documents (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from ..errors import BadInput, CannotRetrain, EdgeclError, NothingLearned
from ..storage.errors import BadRecord, StoreError, StoreFull, WriteBudgetSpent


class Refused(EdgeclError):
    """A request that is not done: ``status`` of the answer, ``retry_after`` in seconds or None."""

    def __init__(self, status: int, cause: str, remedy: str = "", retry_after: float | None = None) -> None:
        super().__init__(cause, remedy)
        self.status, self.retry_after = status, retry_after


def no_room(what: str, retry_after: float = 1.0) -> Refused:
    return Refused(503, f"{what}.", "Try again later, with fewer at a time.", retry_after)


def status_of(error: BaseException) -> int:
    """The HTTP status that an error means."""
    if isinstance(error, Refused):
        return error.status
    if isinstance(error, (StoreFull, WriteBudgetSpent)):
        return 507
    if isinstance(error, (NothingLearned, CannotRetrain)):
        return 409
    if isinstance(error, (BadInput, BadRecord)):
        return 422
    if isinstance(error, EdgeclError):
        return 409
    return 500


def problem(error: BaseException) -> dict[str, Any]:
    """The document of an error; nothing of an unforeseen one but its kind, the rest is for the log."""
    status = status_of(error)
    if isinstance(error, (EdgeclError, StoreError)):
        cause, remedy = error.cause, error.remedy
    else:
        cause, remedy = f"The request failed: {type(error).__name__}.", "See the daemon's log."
    found = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status,
             "detail": f"{cause} {remedy}".strip(), "cause": cause, "remedy": remedy}  # fmt: skip
    retry = getattr(error, "retry_after", None)
    if retry is not None and retry < 1e9:
        found["retry_after"] = retry
    return found
