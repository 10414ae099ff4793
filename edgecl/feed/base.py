"""Source: where a feeder's samples come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from ..errors import BadInput

RAW, JPEG, PNG = "application/octet-stream", "image/jpeg", "image/png"
Due = Callable[[], bool]


class Frame(NamedTuple):
    """A sample as it is sent: bytes, and their type."""

    body: bytes
    kind: str


class Source(Protocol):
    """A camera, a microphone, a sensor, or a recording of one."""

    def frames(self, due: Due) -> Iterator[Frame]:
        """Samples as they come, one whenever ``due()`` says so; what comes in between is dropped unsent.

        Ends where a recording ends. Raises `EdgeclError` for a device that is gone.
        """
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Taken:
    """What the service takes: shape (C, H, W) and dtype of a sample."""

    shape: tuple[int, int, int]
    dtype: str

    @classmethod
    def of(cls, status: dict[str, Any]) -> Taken:
        """Of a service's status."""
        channels, height, width = status["input"]["shape"]
        return cls((channels, height, width), status["input"]["dtype"])

    def check_pictures(self) -> None:
        """Raise `BadInput` unless samples are pictures."""
        if self.shape[0] not in (1, 3) or self.shape[1] == 1:
            raise BadInput(f"The service takes {self._told}, no pictures.", "Feed it from a microphone or sensor.")

    def check_signals(self, channels: int | None = None) -> None:
        """Raise `BadInput` unless samples are signals (of so many channels)."""
        if self.shape[1] != 1 or self.dtype not in ("float32", "int16"):
            raise BadInput(f"The service takes {self._told}, no signals.", "Signals are float32 or int16 (C, 1, T).")
        if channels is not None and channels != self.shape[0]:
            raise BadInput(f"{channels} channels came; the service takes {self._told}.", "Choose as many channels.")

    @property
    def _told(self) -> str:
        return f"{self.dtype} samples of shape {self.shape}"
