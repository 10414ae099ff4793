"""Choices: options of a run that name a class, and the options that the named class brings along.

A method's options have their own names (``alpha``); those of any other class have the class's name before them
(``tdm_delta``), so that two chosen classes never mean different things by one name, whatever else is chosen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any, NamedTuple

from .errors import BadInput, unknown_name
from .fronts.executors.registry import EXECUTORS
from .fronts.registry import FRONTS
from .graph.builders import NETWORKS
from .methods.memory_policies import MEMORY_POLICIES
from .methods.registry import METHODS
from .options import Option, declared
from .parsing import Parser
from .registry import Registry
from .sparsity.registry import GRADIENT_MASKS, POLICIES


class Choice(NamedTuple):
    """An option of a run that chooses a class in ``registry``.

    prefixed : its classes' options carry the class's name
    pick : the class's name, from the option's value;  remedy : what to do where no class is chosen
    """

    option: str
    registry: Registry[Any]
    prefixed: bool = True
    pick: Callable[[Any], Any] = lambda value: value
    remedy: str = ""

    def chosen(self, run: Mapping[str, Any]) -> str | None:
        """The name of the class that the options ``run`` choose, or None."""
        name = self.pick(run.get(self.option))
        if name == "none":  # the word for no class, which no package need be asked for
            return None
        return name if isinstance(name, str) and name in self.registry else None

    def flat(self, name: str, option: str) -> str:
        """What ``option`` of the class ``name`` is called among the options of a run."""
        return f"{re.sub(r'[^a-z0-9]+', '_', name.lower()).strip('_')}_{option}" if self.prefixed else option


def _dgm(keep: Any) -> str | None:
    return "dgm" if isinstance(keep, (int, float)) and keep < 1 else None


CHOICES = (
    Choice("front", FRONTS),
    Choice("executor", EXECUTORS),
    Choice("network", NETWORKS),
    Choice("method", METHODS, prefixed=False),
    Choice("sparsity_policy", POLICIES),
    Choice("gradient_keep", GRADIENT_MASKS, pick=_dgm, remedy="give --gradient-keep below 1"),
    Choice("memory_policy", MEMORY_POLICIES),
)


class Own(NamedTuple):
    """An option that a class brings: of the class ``name`` of ``choice``, there called ``option``."""

    choice: Choice
    name: str
    option: str
    about: Option

    @property
    def owner(self) -> str:
        return f"{self.choice.registry.kind} '{self.name}'"


def registered(registry: Registry[Any], *more: str) -> Parser:
    """A name that is in ``registry`` when it is parsed, or one of ``more``."""

    def parse(name: str, raw: Any) -> str:
        if str(raw) not in more and str(raw) not in registry:
            raise unknown_name(name, str(raw), [*registry, *more])
        return str(raw)

    parse.metavar = lambda: "|".join([*registry, *more])  # type: ignore[attr-defined]
    return parse


TAIL = "tail"  # the network that follows the cut of a backbone


def network_name(name: str, raw: Any) -> str:
    """A builder's name, `TAIL`, a ``.edgecl`` file, or what a configuration calls a network given as a value."""
    text = str(raw)
    if text == TAIL or text.endswith(".edgecl") or re.fullmatch(r".+@[0-9a-f]{12}", text):
        return text
    return registered(NETWORKS)(name, raw)


network_name.metavar = lambda: "|".join([*NETWORKS, TAIL, "FILE.edgecl"])  # type: ignore[attr-defined]


def own_options(chosen: Mapping[str, Any], of_run: Container[str] = ()) -> dict[str, Own]:
    """What the classes that ``chosen`` (option -> name) names bring, by flat name; a name without class brings nothing.

    ``of_run``: names of the options of every run. Raises `BadInput` when one of the classes' has such a name.
    """
    found: dict[str, Own] = {}
    for choice in CHOICES:
        name = choice.chosen(chosen)
        if name is None:
            continue
        for option, about in declared(choice.registry.get(name)).items():
            key, own = choice.flat(name, option), Own(choice, name, option, about)
            if about.run is not None:
                if of_run and about.run not in of_run:
                    raise BadInput(f"The {own.owner} takes '{about.run}', which is no option of a run.", "Declare it.")
            elif key in of_run:
                raise BadInput(
                    f"The option '{key}' of the {own.owner} has the name of an option of every run.",
                    f"Rename it, or declare it with run='{key}' to be given the run's.",
                )
            elif key in found:
                raise BadInput(f"{own.owner} and {found[key].owner} both have the option '{key}'.", "Rename one.")
            else:
                found[key] = own
    return found


def owners(key: str) -> list[Own]:
    """Every registered class with an option of this flat name; packages are imported only when none of ours has it."""

    def having() -> list[Own]:
        return [own for flat, own in every_option() if flat == key]

    found = having()
    if not found:
        for choice in CHOICES:
            choice.registry.load_all()
        found = having()
    return found


def every_option() -> Iterator[tuple[str, Own]]:
    """(flat name, option) of every class that is in memory."""
    for choice in CHOICES:
        for name, entry in choice.registry.loaded():
            for option, about in declared(entry).items():
                if about.run is None:
                    yield choice.flat(name, option), Own(choice, name, option, about)


def arguments(option: str, run: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of the class that the option chooses: those in ``own`` (flat names), and those it takes from
    ``run``; none where it chooses no class."""
    choice = next(c for c in CHOICES if c.option == option)
    name = choice.chosen(run)
    made: dict[str, Any] = {}
    if name is None:
        return made
    for option, about in declared(choice.registry.get(name)).items():
        key = choice.flat(name, option)
        if about.run is not None:
            made[option] = run[about.run]
        elif own.get(key) is not None:
            made[option] = own[key]
    return made


def spread(options: Mapping[str, Any]) -> dict[str, Any]:
    """``options`` with every object or class among the choices (``method=ER(beta=1.0)``) as its name and its options.

    A class that is not registered is registered by this. Raises `BadInput` for an option that is given twice.
    """
    found = dict(options)
    for choice in CHOICES:
        value = found.get(choice.option)
        cls = value if isinstance(value, type) else type(value)
        if value is None or not isinstance(getattr(cls, "name", None), str):
            continue
        name: str = cls.name  # type: ignore[attr-defined]
        if name not in choice.registry or choice.registry.get(name) is not cls:
            choice.registry.register(cls)
        found[choice.option] = name
        for option, given in _given(value, cls).items():
            key = declared(cls)[option].run or choice.flat(name, option)
            if found.get(key) is not None and found[key] != given:
                raise BadInput(f"'{key}' is given twice: in {value!r}, and as {found[key]!r}.", "Give it once.")
            found[key] = given
    return found


def _given(value: Any, cls: type) -> Mapping[str, Any]:
    """The options that an object was given; refused where its class declares none and yet has some."""
    given = getattr(value, "given", None)
    if value is cls or given is not None:
        return given or {}
    options = getattr(value, "options", None)
    if callable(options) and options():
        raise BadInput(
            f"The options of {cls.__name__} are not declared in it, so none of its objects can be made again.",
            "Declare them: share: float = option(0.3, fraction(), 'help').",
        )
    return {}
