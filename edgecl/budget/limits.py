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
    flops : training FLOPs;  energy : joules as the device profile models them;  seconds : training time
    flash : bytes of the store;  flash_writes_per_day : bytes written a day, as the store counts them
    """

    ram: int | str | None = None
    flops: float | str | None = None
    energy: float | None = None
    seconds: float | None = None
    flash: int | str | None = None
    flash_writes_per_day: int | str | None = None
    scope: str = "learner"

    def __post_init__(self) -> None:
        def parse(name: str, parser: parsing.Parser) -> None:
            raw = getattr(self, name)
            object.__setattr__(self, name, None if raw is None else parser(name.replace("_", " "), raw))

        for name in ("ram", "flash", "flash_writes_per_day"):
            parse(name, parsing.size)
        parse("flops", parsing.amount)
        for name in ("energy", "seconds"):
            parse(name, parsing.real(0.0, True))
        if self.scope not in ("process", "learner"):
            raise BadInput(f"The budget's scope is '{self.scope}'.", "Use process or learner.")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
