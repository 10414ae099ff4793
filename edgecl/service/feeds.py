"""Feeds: what the device's own camera, microphone or sensor shows now; of each the last sample only, in RAM only."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, field
from typing import Any

from ..errors import BadInput
from .refusals import Refused, no_room

MOST, MOST_BYTES = 4, 1_000_000  # feeds at once; bytes of a sample
GONE = 10.0  # seconds of silence after which a feed is no more
LOOKED_AT = 3.0  # seconds for which a look counts
_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")


@dataclass
class Feed:
    """body : the latest sample, of the type ``kind``;  number : how many came;  at, looked : monotonic seconds"""

    body: bytes
    kind: str
    number: int
    at: float
    looked: float
    newer: asyncio.Event = field(default_factory=asyncio.Event)


class Feeds:
    """For the loop's thread alone. What is shown is neither predicted, stored nor learned here."""

    def __init__(self) -> None:
        self._feeds: dict[str, Feed] = {}
        self._sweep: asyncio.TimerHandle | None = None

    def _drop_silent(self) -> None:
        now = time.monotonic()
        for name in [n for n, feed in self._feeds.items() if now - feed.at > GONE]:
            self._feeds.pop(name).newer.set()

    def _sweep_later(self) -> None:
        """What went silent is dropped also where nobody asks."""

        def swept() -> None:
            self._sweep = None
            self._drop_silent()
            if self._feeds:
                self._sweep_later()

        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(GONE / 4, swept)

    def show(self, name: str, body: bytes, kind: str) -> dict[str, Any]:
        """A sample in place of the one before; its number, and whether anybody looks. Raises `BadInput`, `Refused`."""
        if not _NAME.fullmatch(name):
            raise BadInput(f"A feed is called '{name[:64]}'.", "Use at most 32 letters, digits, - and _.")
        self._drop_silent()
        before, now = self._feeds.get(name), time.monotonic()
        if before is None and len(self._feeds) >= MOST:
            raise no_room(f"{MOST} feeds are shown already", GONE)
        looked = before.looked if before else -LOOKED_AT
        self._feeds[name] = Feed(body, kind, before.number + 1 if before else 1, now, looked)
        self._sweep_later()
        if before:
            before.newer.set()
        return {"number": self._feeds[name].number, "watched": now - looked < LOOKED_AT}

    async def newer(self, name: str, after: int, seconds: float) -> Feed | None:
        """The latest of a feed once its number is not ``after``; None when nothing came within ``seconds``.

        Raises `Refused` (404) for a feed that is not there.
        """
        self._drop_silent()
        feed = self._feeds.get(name)
        if feed is None:
            raise Refused(404, f"No '{name[:64]}' of the device is shown.", "On the device: edgecl feed camera.")
        feed.looked = time.monotonic()
        if feed.number != after:
            return feed
        try:
            await asyncio.wait_for(feed.newer.wait(), seconds)
        except TimeoutError:
            return None
        found = self._feeds.get(name)
        if found is not None:
            found.looked = time.monotonic()
        return found

    def rows(self) -> list[dict[str, Any]]:
        """What is shown now."""
        self._drop_silent()
        now = time.monotonic()
        return [
            {"name": name, "kind": feed.kind, "number": feed.number, "age": round(now - feed.at, 2)}
            for name, feed in sorted(self._feeds.items())
        ]
