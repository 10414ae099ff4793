"""The public names: what the pages of docs/api list, with parameters and members, and every command with its options.

``python public_names.py`` compares them with `public_names.txt`; ``--write`` writes it anew.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILE = Path(__file__).with_name("public_names.txt")
STARS = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
DIRECTIVE = re.compile(r"^\.\. (currentmodule|auto\w+):: (\S+)", re.M)


def listed() -> Iterator[tuple[str, object]]:
    """(full name, object) of everything that the pages of docs/api show."""
    for page in sorted((ROOT / "docs" / "api").glob("*.md")):
        module = ""
        for directive, name in DIRECTIVE.findall(page.read_text(encoding="utf-8")):
            if directive == "currentmodule":
                module = name
                continue
            place, _, last = name.rpartition(".")
            yield f"{place or module}.{last}", getattr(importlib.import_module(place or module), last)


def described(name: str, found: object) -> Iterator[str]:
    """Lines for a name: itself with its parameters, and what a class defines."""
    yield f"{name}{_parameters(found)}"
    if inspect.isclass(found):
        for key, member in sorted(vars(found).items()):
            if not key.startswith("_"):
                inner = getattr(member, "__func__", member)
                yield f"{name}.{key}{_parameters(inner)}"


def _parameters(found: object) -> str:
    if not (inspect.isclass(found) or inspect.isfunction(found)):
        return ""
    try:
        parameters = inspect.signature(found).parameters.values()
    except ValueError:
        return "()"
    shown = [f"{STARS.get(p.kind, '')}{p.name}" for p in parameters if p.name != "self"]
    return f"({', '.join(shown)})"


def commands() -> Iterator[str]:
    """A line for each command, with its options in order of the alphabet."""
    from typer.main import get_command

    from edgecl.cli import HOMES, application

    def walk(command, path: str) -> Iterator[str]:
        inner = getattr(command, "commands", {})
        for name in sorted(inner):
            yield from walk(inner[name], f"{path} {name}")
        if not inner:
            options = sorted({o for p in command.params for o in (*p.opts, *p.secondary_opts) if o.startswith("-")})
            yield " ".join([path, *options])

    yield from walk(get_command(application(HOMES)), "edgecl")


def names() -> list[str]:
    """All lines, in order."""
    return [*(line for name, found in listed() for line in described(name, found)), *commands()]


def changed() -> tuple[list[str], list[str]]:
    """(lines that are new, lines that are gone)."""
    now, before = names(), FILE.read_text(encoding="utf-8").splitlines()
    return [line for line in now if line not in before], [line for line in before if line not in now]


if __name__ == "__main__":
    if "--write" in sys.argv:
        FILE.write_text("\n".join(names()) + "\n", encoding="utf-8")
    new, gone = changed()
    print("\n".join([*(f"+ {line}" for line in new), *(f"- {line}" for line in gone)]) or "as listed")
    sys.exit(bool(new or gone))
