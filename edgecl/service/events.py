"""Events: what happens in the daemon, to whoever listens at /v1/events, as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from .refusals import no_room

MOST_LISTENERS, MOST_WAITING, BEAT = 16, 64, 15.0


class Events:
    """Told from any thread, heard on the loop. Who does not listen loses the oldest."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: set[asyncio.Queue[str | None]] = set()

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def tell(self, kind: str, about: dict[str, Any]) -> None:
        """An event of ``kind``. Costs nothing while nobody listens."""
        if self._listeners and self._loop is not None and not self._loop.is_closed():
            text = f"event: {kind}\ndata: {json.dumps(about)}\n\n"
            self._loop.call_soon_threadsafe(self._put, text)

    def _put(self, text: str | None) -> None:
        for queue in list(self._listeners):
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(text)

    def end(self) -> None:
        """Everybody's stream ends; on the loop."""
        self._put(None)

    def listen(self) -> AsyncIterator[str]:
        """The stream of one listener. Raises `Refused` (503) when too many listen."""
        if len(self._listeners) >= MOST_LISTENERS:
            raise no_room(f"{MOST_LISTENERS} listen already", 30.0)
        queue: asyncio.Queue[str | None] = asyncio.Queue(MOST_WAITING)
        self._listeners.add(queue)
        return self._stream(queue)

    async def _stream(self, queue: asyncio.Queue[str | None]) -> AsyncIterator[str]:
        try:
            yield ": edgecl\n\n"
            while True:
                try:
                    text = await asyncio.wait_for(queue.get(), BEAT)
                except asyncio.TimeoutError:
                    text = ": still here\n\n"  # so that a peer that is gone is noticed
                if text is None:
                    return
                yield text
        finally:
            self._listeners.discard(queue)
