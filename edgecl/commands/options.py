"""The options of `edgecl run` and `edgecl plan`, made from `Config`: one list for command line, files and
records."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import typer

from ..config import OPTIONS, flag_name, read_config_file
from ..parsing import flag

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


def with_config_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function(options, **own)`` as a command that also takes every option of `Config` and ``--config
    FILE``.

    ``options`` is what was given: the file's values with the command line's over them, not yet parsed.
    """
    own = [p for p in inspect.signature(function).parameters.values() if p.name != "options"]
    own_types = {p.name: p.annotation for p in own}
    parameters = [_parameter(name) for name in OPTIONS]
    file = inspect.Parameter(
        "config",
        inspect.Parameter.KEYWORD_ONLY,
        default=typer.Option(
            None, "--config", metavar="FILE", help="options from a .toml or .json file, or a run.json"
        ),
        annotation=str,
    )

    def command(**given: Any) -> Any:
        options = {} if given["config"] is None else read_config_file(given["config"])
        options = {str(k).replace("-", "_"): v for k, v in options.items()}
        options.update({k: given[k] for k in OPTIONS if given[k] is not None})
        return function(options, **{name: given[name] for name in own_types})

    own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    signature = inspect.Signature([*parameters, file, *own])
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    command.__name__ = function.__name__
    return command


def _parameter(name: str) -> inspect.Parameter:
    """A field as a keyword option. Values stay text: `Config` parses them, so that every refusal reads
    alike."""
    meta = OPTIONS[name]
    default = meta.default
    shown = "" if default is None or default is False else f" [default: {default}]"
    boolean = meta.metadata["parse"] is flag
    option = typer.Option(
        None,
        f"{flag_name(name)}/--no-{name.replace('_', '-')}" if boolean else flag_name(name),
        metavar=None if boolean else _metavar(name, meta),
        help=meta.metadata["about"] + shown,
        show_default=False,
    )
    kind: Any = bool if boolean else str
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=kind)


def _metavar(name: str, option: Any) -> str:
    fallback = {int: "N", float: "X"}.get(type(option.default), "N")
    return _METAVARS.get(name) or str(getattr(option.metadata["parse"], "metavar", fallback))
