"""A Sphinx extension: docstrings as they stand in the code, made into what Sphinx reads.

They list ``name : what it is`` in lines, some of them several to a line, with or without a heading; equations are
indented. A paragraph that begins with such a line becomes a list. (napoleon would take a property's first colon for
the end of its type.)
"""

from __future__ import annotations

import re
from typing import Any

ENTRY = re.compile(r"^([\w*][\w*., |()\[\]]*?) +: +(\S.*)$")
CODE = re.compile(r"(``?[^`]+``?)")
SECTIONS = {"Parameters", "Returns", "Raises", "Attributes", "Source", "Yields", "Notes", "Examples"}


def rewrite(lines: list[str]) -> list[str]:
    """The lines of a docstring without definitions in free form; sections become bold headings."""
    found: list[str] = []
    for paragraph in _paragraphs(lines):
        if len(paragraph) > 1 and paragraph[0].strip() in SECTIONS and set(paragraph[1].strip()) == {"-"}:
            found += [f"**{paragraph[0].strip()}**", ""]
            paragraph = paragraph[2:]
        if paragraph:
            found += [*_definitions(paragraph), ""]
    return found


def _paragraphs(lines: list[str]) -> list[list[str]]:
    found: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            found[-1].append(line.rstrip())
        elif found[-1]:
            found.append([])
    return [p for p in found if p]


def _definitions(paragraph: list[str]) -> list[str]:
    """A paragraph as it is, or as a list where its first line is ``name : text``."""
    if not ENTRY.match(paragraph[0].split(";  ")[0]):
        return _text(paragraph)
    entries: list[list[str]] = []
    for line in paragraph:
        for part in line.split(";  "):
            if match := ENTRY.match(part.strip()):
                entries.append([match[1].strip(), match[2]])
            elif entries:
                entries[-1][1] += f" {part.strip()}"
    return [f"- ``{name}``: {_plain(text)}" for name, text in entries]


def _text(paragraph: list[str]) -> list[str]:
    """Indented lines are shown as they stand; doctests too."""
    if paragraph[0].startswith(">>>"):
        return paragraph
    if paragraph[0].startswith(" "):
        return ["::", "", *(f"    {line}" for line in paragraph)]
    kept, shown = [], []
    for line in paragraph:
        if line.startswith("    ") or shown:
            shown.append(line)
        else:
            kept.append(line)
    kept = [_plain(line) for line in kept]
    return kept if not shown else [*kept, "", "::", "", *(f"    {line}" for line in shown)]


def _plain(text: str) -> str:
    """A star that is no emphasis is a star; what stands between backticks stays."""
    parts = CODE.split(text)
    return "".join(p if i % 2 else p.replace("*", "\\*") for i, p in enumerate(parts))


def _process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = rewrite(lines)


def setup(app: Any) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", _process)
    return {"parallel_read_safe": True}
