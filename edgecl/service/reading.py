"""Reading of requests: length, type and room are judged before a body is read, and it is counted while it is."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

from starlette.requests import ClientDisconnect, Request

from ..errors import BadInput
from .refusals import Refused

BODY_SECONDS = 30.0


def declared_length(request: Request, most: int) -> int | None:
    """Of the body; None where it comes in chunks. Raises `Refused` (413)."""
    text = request.headers.get("content-length")
    if text is None:
        return None if "transfer-encoding" in request.headers else 0
    if not re.fullmatch(r"\d{1,18}", text) or int(text) > most:
        raise Refused(413, f"The body is to have {text[:20]} bytes.", f"Send at most {most}.")
    return int(text)


def content_type(request: Request, known: tuple[str, ...]) -> str:
    """Of the body, without parameters; curl's default for data counts as JSON. Raises `Refused` (415)."""
    kind = request.headers.get("content-type", known[-1]).partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded" and "application/json" in known:
        return "application/json"
    if kind not in known:
        raise Refused(415, f"The body is '{kind[:64]}'.", f"Send {', '.join(known)}.")
    return kind


async def read_body(request: Request, most: int) -> bytes:
    """All of it, at most ``most`` bytes, within 30 s. Raises `Refused` (413, 408)."""
    parts, count = [], 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                count += len(part)
                if count > most:
                    raise Refused(413, f"The body has more than {most} bytes.", "Send less at a time.")
                parts.append(part)
    except TimeoutError:
        raise Refused(408, f"The body did not come within {BODY_SECONDS:.0f} s.", "Send it faster.") from None
    except ClientDisconnect:
        raise Refused(400, "The body ended early.", "Send all of it.") from None
    request.state.whole = True
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def drop_body(request: Request) -> bool:
    """Read a short body that a refusal left, so that the connection can be used again. Whether nothing is left."""
    length = request.headers.get("content-length", "0")
    if getattr(request.state, "whole", False) or (length == "0" and "transfer-encoding" not in request.headers):
        return True
    if "transfer-encoding" in request.headers or not re.fullmatch(r"\d{1,5}", length):
        return False
    try:
        await read_body(request, 100_000)
        return True
    except (Refused, RuntimeError):  # it ended early, or part of it was read
        return False


def check_query(request: Request, known: Mapping[str, str]) -> dict[str, str]:
    """The query as a dictionary. Raises `BadInput` for a name without meaning or said twice."""
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in known:
            raise BadInput(f"'{name[:64]}' has no meaning in this query.", f"Known: {', '.join(known) or 'nothing'}.")
        if name in found:
            raise BadInput(f"'{name}' was said twice.", "Say it once.")
        found[name] = value
    return found


def truth(query: Mapping[str, str], name: str) -> bool:
    value = query.get(name, "0")
    if value not in ("0", "1", "true", "false", ""):
        raise BadInput(f"{name} is '{value[:64]}'.", "Say 1 or 0.")
    return value in ("1", "true", "")
