"""The options of `edgecl run` and `edgecl plan`, made from `Config`: one list for command line, files and
records. Classes that a run may name bring theirs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import typer
from typer.core import TyperCommand

from ..choices import CHOICES, Own, every_option
from ..config import OPTIONS, flag_name, read_config_file
from ..former_names import FORMER, present_names
from ..parsing import Parser, flag
from ..plugins import use

_METAVARS = {
    "stream": "NAME|PATH",
    "store": "DIR",
    "root_key_file": "FILE",
    "out": "DIR",
    "ram": "SIZE",
    "flash": "SIZE",
    "store_limit": "SIZE",
    "flops": "N",
    "energy": "JOULES",
    "energy_source": "SOURCE",
    "seconds": "TIME",
    "flash_writes_per_day": "SIZE",
    "max_temperature": "CELSIUS",
    "min_battery": "X",
    "max_load": "X",
    "device": "NAME",
    "durability": "durable|batched:MS",
    "micro_batch": "N|auto",
    "memory": "SLOTS",
}
_OWN = "edgecl.own"  # where a context keeps the values of options that classes brought


def with_config_options(function: Callable[..., Any], names: Iterable[str] | None = None) -> Callable[..., Any]:
    """``function(options, context, use, **own)`` as a command (of class `RunCommand`) that also takes every option of
    `Config`, ``--config FILE`` and ``--use``. With ``names``: ``function(options, **own)`` (of class `ConfigCommand`)
    takes only those options.

    ``options`` is what was given: the file's values with the command line's over them, not yet parsed.
    """
    own = [p for p in inspect.signature(function).parameters.values() if p.name not in ("options", "use")]
    own_types = {p.name: p.annotation for p in own}
    chosen = tuple(OPTIONS) if names is None else tuple(names)
    parameters = [_parameter(name) for name in chosen]
    if names is None:
        parameters += [_parameter(renamed.now, former) for former, renamed in FORMER.items()]
    parameters.append(
        _keyword(
            "config", str, None, "--config", metavar="FILE", help="options from a .toml or .json file, or a run.json"
        )
    )
    if names is None:
        parameters.append(
            _keyword(
                "use", list[str], [], "--use", metavar="FILE.py|MODULE",
                help="import this first: it registers methods, policies, networks, streams; may be given again",
            )
        )  # fmt: skip

    def command(**given: Any) -> Any:
        options = {} if given["config"] is None else present_names(read_config_file(given["config"]), warn=True)
        said = {k: given[k] for k in (*chosen, *FORMER) if given.get(k) is not None}
        options.update(present_names(said, warn=True))
        rest = {name: given[name] for name in own_types}
        if names is not None:
            return function(options, **rest)
        options.update(given["context"].meta.get(_OWN, {}))
        return function(options, use=list(given["use"] or ()), **rest)

    own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    signature = inspect.Signature([*parameters, *own])
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    command.__name__ = function.__name__
    return command


class ConfigCommand(TyperCommand):
    """A command whose help shows what values its options take."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        for parameter in self.params:
            option = OPTIONS.get(str(parameter.name))
            if option is not None and option.metadata["parse"] is not flag:
                parameter.metavar = _metavar(str(parameter.name), option.metadata["parse"])
        super().format_options(ctx, formatter)


class RunCommand(ConfigCommand):
    """A command whose options are also those of the classes that a run may name: of ours, of what ``--use`` imports,
    and of installed packages once one of their options is given or help is asked for."""

    own: Sequence[Any] = ()  # click's options of those classes

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Import, learn the options, then parse; the classes' values go to the context."""
        use(values_of("--use", args))
        known = {text for p in super().get_params(ctx) for text in (*p.opts, *p.secondary_opts)}
        known |= {flag_name(flat) for flat, _ in every_option()}
        given = [a.partition("=")[0] for a in args if a.startswith("--")]
        if "--help" in given or any(a not in known and f"--{a[5:]}" not in known for a in given):
            for choice in CHOICES:
                choice.registry.load_all()
        self.own = click_options(own_parameters())
        rest = super().parse_args(ctx, args)
        values = {p.name: ctx.params.pop(p.name, None) for p in self.own}
        ctx.meta[_OWN] = {name: value for name, value in values.items() if value is not None}
        return rest

    def get_params(self, ctx: Any) -> list[Any]:
        return [*super().get_params(ctx), *self.own]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Every run's options, then those of each class."""
        super().format_options(ctx, formatter)
        for title, rows in own_sections():
            with formatter.section(title):
                formatter.write_dl(rows)


def values_of(option: str, arguments: Sequence[str]) -> list[str]:
    """What ``option`` is given as among arguments that are not parsed yet."""
    found = [a.partition("=")[2] for a in arguments if a.startswith(f"{option}=")]
    return found + [value for name, value in pairwise(arguments) if name == option]


def own_parameters() -> list[inspect.Parameter]:
    """A hidden keyword for every option that a class brings; a flag where all that share its name are flags."""
    owners: dict[str, list[Own]] = {}
    for flat, own in every_option():
        owners.setdefault(flat, []).append(own)
    return [
        _option(flat, all(o.about.parse is flag for o in own), hidden=True)
        for flat, own in owners.items()
        if flat not in OPTIONS
    ]


def own_sections() -> list[tuple[str, list[tuple[str, str]]]]:
    """(title, rows of option and help) for what all classes of a choice share, then for each class."""
    sections = []
    for choice in CHOICES:
        classes: dict[str, list[tuple[str, str]]] = {name: [] for name, _ in choice.registry.loaded()}
        for flat, own in every_option():
            if own.choice is choice:
                text = f"{flag_name(flat)} {_metavar(flat, own.about.parse)}".rstrip()
                classes[own.name].append((text, own.about.about + _default(own.about.default)))
        kind = choice.registry.kind
        shared = [row for row in next(iter(classes.values()), []) if all(row in rows for rows in classes.values())]
        if shared and not choice.prefixed:
            sections.append((f"Every {kind}", shared))
        for name, rows in classes.items():
            if rest := [row for row in rows if row not in shared or choice.prefixed]:
                sections.append((f"{kind.capitalize()} {name}", rest))
    return sections


def click_options(parameters: Iterable[inspect.Parameter]) -> list[Any]:
    """The options that typer makes of keyword parameters."""

    def takes_them(**given: Any) -> None:
        """Never called."""

    takes_them.__signature__ = inspect.Signature(list(parameters))  # type: ignore[attr-defined]
    takes_them.__annotations__ = {p.name: p.annotation for p in takes_them.__signature__.parameters.values()}  # type: ignore[attr-defined]
    app = typer.Typer(add_completion=False)
    app.command()(takes_them)
    return list(typer.main.get_command(app).params)


def _parameter(name: str, former: str | None = None) -> inspect.Parameter:
    """A field as a keyword option, or the same hidden under a former name. Values stay text: `Config` parses them, so
    that every refusal reads alike."""
    meta = OPTIONS[name]
    parse, shown = meta.metadata["parse"], meta.metadata["about"] + _default(meta.default)
    if former is not None:
        return _option(former, parse is flag, hidden=True)
    return _option(name, parse is flag, help=shown)


def _option(name: str, boolean: bool, **about: Any) -> inspect.Parameter:
    text = flag_name(name)
    if boolean:
        return _keyword(name, bool, None, f"{text}/--no-{text[2:]}", **{**about, "metavar": None})
    return _keyword(name, str, None, text, **about)


def _keyword(name: str, kind: Any, default: Any, text: str, **about: Any) -> inspect.Parameter:
    option = typer.Option(default, text, show_default=False, **about)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=kind)


def _default(value: Any) -> str:
    return "" if value is None or value is False else f" [default: {value}]"


def _metavar(name: str, parse: Parser) -> str:
    """What stands for a value in the help; asked when help is shown, since it may list what is registered."""
    if parse is flag:
        return ""
    return _METAVARS.get(name) or getattr(parse, "metavar", lambda: "N")()
