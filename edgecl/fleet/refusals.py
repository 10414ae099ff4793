"""BadUpdate: what a fleet refuses, by name, before a number of it is used."""

from __future__ import annotations

from ..errors import BadInput

NAMES = (
    "format", "size", "checksum", "network", "base", "pattern", "labels", "number", "norm", "late", "twice", "stranger",
)  # fmt: skip


class BadUpdate(BadInput):
    """An update or a model that does not fit. ``name``: one of `NAMES`, what metrics count it under."""

    def __init__(self, name: str, cause: str, remedy: str = "") -> None:
        assert name in NAMES, name
        super().__init__(cause, remedy or "Send what this edgecl wrote, for the present round.")
        self.name = name
