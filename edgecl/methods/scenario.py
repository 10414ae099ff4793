"""Scenarios: what a stream of tasks asks, and whether a method is meant for it (van de Ven and Tolias 2019)."""

from __future__ import annotations

from collections.abc import Sequence

from .base import Method

MEANT = {
    "task-il": "streams that tell the task at prediction",
    "class-il": "streams whose tasks bring new classes",
    "domain-il": "streams whose tasks bring the same classes from another domain",
    "task-free": "streams without tasks",
}


def scenario_of(tasks: Sequence[Sequence[int]]) -> str:
    """Of tasks with these classes: ``domain-il`` where all have the same, else ``class-il``."""
    return "domain-il" if len(tasks) > 1 and len({frozenset(t) for t in tasks}) == 1 else "class-il"


def misfit(method: type[Method], scenario: str) -> str | None:
    """What to tell a person whose stream is not one the method is meant for; None where it is, or does not say."""
    if not method.scenarios or scenario in method.scenarios:
        return None
    meant = " or ".join(MEANT[s] for s in method.scenarios)
    said = f"Method '{method.name}' is meant for {meant}; this stream is {scenario}."
    if scenario == "class-il":
        return f"{said} Expect old classes near chance; look at Task-IL, or use er-ace or slda."
    return f"{said} Use er or slda."
