"""Options declared where a class is: default, range and help in one line.

>>> class Mine(ER):
...     name = "mine"
...     tau: float = option(2.0, real(0.0, True), "temperature of the distillation")
>>> Mine(tau=3).tau, Mine(tau=3)
(3.0, Mine(tau=3.0))

Constructor keywords, `hyper`, the command line, configuration files and records follow from the declaration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import BadInput, unknown_name
from .parsing import Parser


class Option:
    """One declared option. As a class attribute it gives its default.

    parse : checks and converts a raw value;  about : help text
    none : whether None is a value (not set)
    run : name of the run's option whose value it takes; it is then no option of its own there
    """

    __slots__ = ("about", "default", "none", "parse", "run")

    def __init__(
        self, default: Any, parse: Parser, about: str, none: bool = False, run: str | None = None
    ) -> None:
        self.default, self.parse, self.about, self.none, self.run = default, parse, about, none, run

    def value(self, name: str, raw: Any) -> Any:
        """The checked value of ``raw``. Raises `BadInput`."""
        if raw is None and self.none:
            return None
        return self.parse(name.replace("_", " "), raw)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self.default


def option(default: Any, parse: Parser, about: str, *, none: bool | None = None, run: str | None = None) -> Any:
    """An `Option` for the body of a class; None is allowed where it is the default."""
    return Option(default, parse, about, default is None if none is None else none, run)


def options_of(cls: type) -> dict[str, Option]:
    """The options of a class, its bases' first. A plain value in a derived class is a new default for it; a method or
    property of the name hides it."""
    found: dict[str, Option] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, Option):
                found[name] = value
            elif name in found:
                if callable(value) or hasattr(value, "__get__"):
                    del found[name]
                else:
                    old = found[name]
                    found[name] = Option(old.value(name, value), old.parse, old.about, old.none, old.run)
    return found


class Configurable:
    """A class made of its options: ``Class(option=value)``.

    ``given`` holds the checked values that were given; all options are attributes. Raises `BadInput`.
    """

    def __init__(self, **given: Any) -> None:
        known = options_of(type(self))
        for name in given:
            if name not in known:
                what = getattr(self, "name", "") or type(self).__name__
                hint = unknown_name("option", name, known).remedy if known else "It has none."
                raise BadInput(f"'{what}' has no option '{name}'.", hint)
        self.given = {name: known[name].value(name, raw) for name, raw in given.items()}
        for name, about in known.items():
            setattr(self, name, self.given.get(name, about.default))

    def hyper(self) -> dict[str, Any]:
        """Every option's value; ``Class(**hyper)`` makes its like."""
        return {name: getattr(self, name) for name in options_of(type(self))}

    def __repr__(self) -> str:
        given = getattr(self, "given", {})
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in given.items())})"


def declared(cls: Any) -> Mapping[str, Option]:
    """`options_of` a class; none of anything else that a registry may hold, such as a function."""
    return options_of(cls) if isinstance(cls, type) else {}
