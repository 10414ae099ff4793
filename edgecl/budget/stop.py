"""Stop: why training ended before what was asked for."""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["asked", "flops", "seconds", "energy", "ram", "flash", "loss"]

EXPLODED = "the loss exploded"


class Stop(NamedTuple):
    """A kind for programs, a sentence for people, the step it was decided at.

    ``asked``: a person or a program; ``loss``: not finite, or exploded; the others name the limit that was reached.
    """

    kind: Kind
    text: str
    step: int

    @property
    def at_limit(self) -> bool:
        """Whether a budget was reached."""
        return self.kind not in ("asked", "loss")


    @property
    def exploded(self) -> bool:
        """Of a loss: whether it was finite, and beyond all bounds."""
        return self.text.startswith(EXPLODED)

    @property
    def ruin(self) -> str:
        """What was wrong with a loss, in a few words."""
        return EXPLODED if self.exploded else "loss not finite"


def stop_text(stop: Stop | None) -> str | None:
    """Its sentence, or None."""
    return None if stop is None else stop.text
