"""Budget: what a run or a learner may use."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .. import parsing
from ..errors import BadInput


@dataclass(frozen=True)
class Budget:
    """Any subset of limits; None is no limit.

    ram : bytes, or text such as ``96MB``. With ``scope`` ``process`` the peak resident set of the whole
        process,
        interpreter included (command line); with ``learner`` the growth over its value when the Learner was
        made
    flops : training FLOPs
    energy : joules, or text such as ``2Wh``; measured by a sensor or modelled by the device profile
    seconds : training time, or text such as ``2h``; pauses do not count
    flash : bytes of the store;  flash_writes_per_day : bytes written a day, as the store counts them
    """

    ram: int | str | None = None
    flops: float | str | None = None
    energy: float | str | None = None
    seconds: float | str | None = None
    flash: int | str | None = None
    flash_writes_per_day: int | str | None = None
    scope: str = "learner"

    def __post_init__(self) -> None:
        def parse(name: str, parser: parsing.Parser) -> None:
            raw = getattr(self, name)
            object.__setattr__(self, name, None if raw is None else parser(name.replace("_", " "), raw))

        for name in ("ram", "flash"):
            parse(name, parsing.size)
        parse("flash_writes_per_day", parsing.size_per_day)
        parse("flops", parsing.amount)
        parse("energy", parsing.energy)
        parse("seconds", parsing.duration)
        if self.scope not in ("process", "learner"):
            raise BadInput(f"The budget's scope is '{self.scope}'.", "Use process or learner.")

    def to_json(self) -> dict[str, Any]:
        """A plain form: limits by name."""
        return asdict(self)
