"""The pages, and what in them can be run: fenced blocks with the comment above them, and `edgecl ...` between text."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w*)\s*$")
NOTE = re.compile(r"^<!-- (not run|file): (.+?) -->$")
INLINE = re.compile(r"`(edgecl [a-z][^`]*)`")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    page, line : where its first line stands (1-based);  language : of the fence, may be empty
    not_run : why no test runs it, or None;  file : what the reader saves it as, or None
    """

    page: Path
    line: int
    language: str
    text: str
    not_run: str | None = None
    file: str | None = None

    @property
    def commands(self) -> list[list[str]]:
        """Its `edgecl` lines as words, without prompt, comment and what the command prints."""
        if self.language in ("python", "toml"):
            return []
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.language == "console":
            lines = [line for line in lines if line.startswith("$ ")]
        found = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines if "edgecl" in line]
        return [words for words in found if words and Path(words[0]).name == "edgecl"]

    @property
    def runs(self) -> bool:
        return self.language == "python" or bool(self.commands)


def pages() -> list[Path]:
    """README, and every page of docs in order."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT).with_suffix(""))


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page. A comment alone on the line before one is its note."""
    found: list[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    notes: dict[str, str] = {}
    start, language, inside = 0, "", False
    for number, line in enumerate(lines, 1):
        if inside:
            if line.strip() == "```":
                text = "\n".join(lines[start : number - 1]) + "\n"
                found.append(Block(page, start + 1, language, text, notes.get("not run"), notes.get("file")))
                inside, notes = False, {}
        elif fence := FENCE.match(line):
            start, language, inside = number, fence[1], True
        elif note := NOTE.match(line):
            notes[note[1]] = note[2]
        elif line.strip():
            notes = {}
    return found


def outside_of_fences(page: Path) -> list[tuple[int, str]]:
    """(line number, line) of a page's text."""
    kept, inside = [], False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```"):
            inside = not inside
        elif not inside:
            kept.append((number, line))
    return kept
