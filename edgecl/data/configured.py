"""The stream that a run's options name."""

from __future__ import annotations

from typing import Protocol

from .options import Cutting, Reading
from .streams import Stream, load_stream


class StreamOptions(Protocol):
    """The options of a run that say what its stream is."""

    @property
    def stream(self) -> str: ...

    @property
    def limit_train(self) -> int | None: ...

    @property
    def validation(self) -> float | None: ...

    @property
    def limit_tasks(self) -> int | None: ...

    @property
    def reading(self) -> Reading: ...

    @property
    def cutting(self) -> Cutting: ...


def configured_stream(config: StreamOptions, fetch: bool = True) -> Stream:
    """The stream that a run's options name. Raises as `load_stream` does."""
    return load_stream(
        config.stream, config.limit_train, config.validation, fetch, config.limit_tasks,
        None if config.reading == Reading() else config.reading, config.cutting,
    )  # fmt: skip
