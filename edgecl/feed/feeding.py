"""Feeding: samples of a source to the service, at a pace: shown to whoever looks, predicted, or taught."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from ..errors import EdgeclError
from ..service import Client
from ..service.wire import NotLearned, ServiceError
from .base import Frame, Source

UNWATCHED = 1.0  # seconds between samples while nobody looks
AGAIN = 1.0  # seconds until a service that does not answer is asked again
_LATER = (503, 507)


class Feeding:
    """A source's samples to a service, until the source or ``count`` ends.

    name : of the feed that the page shows;  rate : samples a second at most
    give_up : seconds without an answer after which it ends, or None: never
    predict : print what it sees, what it is unsure of waits for a label;  label, subject : observe samples as of it
    """

    def __init__(
        self, client: Client, source: Source, name: str, rate: float, *, predict: bool = False,
        label: str | None = None, subject: int | None = None, count: int | None = None,
        give_up: float | None = None, as_json: bool = False,
    ) -> None:  # fmt: skip
        self._client, self._source, self._path = client, source, f"/v1/feeds/{quote(name, safe='')}"
        self._fast = self._every = 1 / rate
        self._label, self._subject, self._count, self._json = label, subject, count, as_json
        self._next, self._said, self._give_up = 0.0, "", give_up
        self._away: float | None = None  # since when nobody answers, monotonic seconds
        self._do: Callable[[Frame], None] = self._show
        if label is not None:
            self._do = self._observe
        elif predict:
            self._do = self._predict

    def run(self) -> int:
        """How many samples the service took. Raises `EdgeclError` for what it cannot use."""
        taken = 0
        for frame in self._source.frames(self._due):
            self._send(frame)
            taken += 1
            if self._count is not None and taken >= self._count:
                break
        return taken

    def _due(self) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = max(now, self._next + self._every)
        return True

    def _send(self, frame: Frame) -> None:
        """Until it is taken: a service that is away, or has no room, is asked again."""
        while True:
            try:
                self._do(frame)
                if self._away is not None:
                    self._tell("The service answers again.")
                self._away = None
                return
            except NotLearned as error:
                return self._say(error.cause)
            except EdgeclError as error:
                if isinstance(error, ServiceError) and error.status not in _LATER:
                    raise
                now = time.monotonic()
                if self._away is None:
                    self._tell(f"{error.cause} It is asked again.")
                    self._away = now
                elif self._give_up is not None and now - self._away >= self._give_up:
                    raise
                time.sleep(AGAIN)

    def _show(self, frame: Frame) -> None:
        answer = self._post(self._path, frame)
        self._every = self._fast if answer["watched"] else max(self._fast, UNWATCHED)
        if answer["watched"]:
            self._next = min(self._next, time.monotonic() + self._fast)

    def _predict(self, frame: Frame) -> None:
        answer = self._post("/v1/predict", frame)
        if self._json:
            print(json.dumps(answer), flush=True)
        else:
            label, best = answer["labels"][0], answer["confidence"][0]
            self._say("unsure" if label is None else f"{label}", f" {100 * best:.0f} %")

    def _observe(self, frame: Frame) -> None:
        answer = self._post("/v1/observe", frame, label=self._label, subject=self._subject, wait="durable")
        if self._json:
            print(json.dumps(answer), flush=True)

    def _post(self, path: str, frame: Frame, **query: Any) -> Any:
        return self._client.answer(*self._client.request("POST", path, frame.body, frame.kind, **query)[:2])

    def _say(self, what: str, more: str = "") -> None:
        """On a line of its own, when it is another than before; beside answers as JSON, which stay whole."""
        if what != self._said:
            print(what + more, file=sys.stderr if self._json else sys.stdout, flush=True)
        self._said = what

    @staticmethod
    def _tell(text: str) -> None:
        print(text, file=sys.stderr, flush=True)
