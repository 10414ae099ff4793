"""LimitedProtocol: HTTP on one connection, with limits that uvicorn does not have."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES, HEAD_SECONDS = 16_384, 10.0


class Corked:
    """A transport that sends what is written in one turn of the loop at once: an answer's head and body in one packet.

    Everything else is the transport's own.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._waiting: list[bytes] = []

    def write(self, data: bytes) -> None:
        if not self._waiting:
            self._loop.call_soon(self.flush)
        self._waiting.append(data)

    def flush(self) -> None:
        """Send what waits."""
        if self._waiting:
            data, self._waiting = b"".join(self._waiting), []
            self._transport.write(data)

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits on connections, and on the bytes of a request's head and the time it may take."""

    most = 64  # connections of a server

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._due: float | None = None  # when the head must be whole that is waited for, in the loop's time
        self._timer: asyncio.TimerHandle | None = None
        self._head = 0  # bytes of it so far
        full = len(self.connections) >= self.most
        super().connection_made(Corked(transport, self.loop))  # type: ignore[arg-type]
        if full:
            transport.abort()
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._due = None
        if self._timer is not None:
            self._timer.cancel()
        self._unset_keepalive_if_required()  # uvicorn leaves it where the peer reset, and it holds all of this
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self._head
        super().data_received(data)
        if self._due is not None:  # the head is not whole, and the parser keeps what it has of a line
            self._head = max(self._head, before + len(data))
            if self._head > HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response("The head of this request is too long.")

    # -- the parser's

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._due is None:  # a further request on the same connection
            self._await_head()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._due = None
        super().on_headers_complete()

    # -- limits

    def _await_head(self) -> None:
        self._head, self._due = 0, self.loop.time() + HEAD_SECONDS
        if self._timer is None:  # one serves the heads of many requests
            self._timer = self.loop.call_at(self._due, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._due is None:
            return
        if self.loop.time() < self._due:
            self._timer = self.loop.call_at(self._due, self._look)
        else:
            self.transport.abort()

    def _count(self, more: int) -> None:
        self._head += more
        if self._head > HEAD_BYTES:
            raise ValueError("head")  # the parser's callback error, which is answered by 400
