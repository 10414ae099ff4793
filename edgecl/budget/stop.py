"""Stop: why training ended before what was asked for."""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["asked", "flops", "seconds", "energy", "ram", "flash", "loss"]


class Stop(NamedTuple):
    """A kind for programs, a sentence for people, the step it was decided at.

    ``asked``: a person or a program; ``loss``: it was not finite; the others name the limit that was reached.
    """

    kind: Kind
    text: str
    step: int

    @property
    def at_limit(self) -> bool:
        """Whether a budget was reached."""
        return self.kind not in ("asked", "loss")


def stop_text(stop: Stop | None) -> str | None:
    """Its sentence, or None."""
    return None if stop is None else stop.text
