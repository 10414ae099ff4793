"""What README and the pages show runs: every Python block, every line that begins with `edgecl`."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from page_blocks import INLINE, blocks, name_of, outside_of_fences, pages
from typer.main import get_command

from edgecl.cli import HOMES, application

FOLLOW = Path(__file__).with_name("follow.py")
MOST_NOT_RUN = 10
RUN = [page for page in pages() if any(b.runs and not b.not_run for b in blocks(page))]


@pytest.mark.parametrize("page", RUN, ids=name_of)
def test_a_page_is_followed_to_its_end(page, tmp_path):
    command = [sys.executable, "-P", str(FOLLOW), str(page)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


@pytest.mark.campaign
@pytest.mark.parametrize("page", [p for p in RUN if p.name == "README.md"], ids=name_of)
def test_a_page_is_followed_without_shortening(page, tmp_path):
    subprocess.run([sys.executable, "-P", str(FOLLOW), str(page), "--whole"], cwd=tmp_path, check=True, timeout=3600)


def test_few_blocks_are_not_run_and_each_says_why():
    marked = [b for page in pages() for b in blocks(page) if b.not_run is not None]
    assert [f"{name_of(b.page)}:{b.line}" for b in marked if "edgecl" not in b.text] == []  # nothing to leave out
    assert len(marked) <= MOST_NOT_RUN, [f"{name_of(b.page)}:{b.line} {b.not_run}" for b in marked]


def test_a_block_says_its_language_and_no_line_hides_in_an_indented_one():
    for page in pages():
        for number, line in outside_of_fences(page):
            assert not line.startswith(("    edgecl ", "    $ edgecl ")), f"{name_of(page)}:{number}"
        for block in blocks(page):
            code = any(line.startswith(("import ", "from ")) for line in block.text.splitlines())
            assert block.language == "python" or not code, f"{name_of(page)}:{block.line}"


@pytest.fixture(scope="module")
def commands():
    """The command line as a tree of commands."""
    return get_command(application(HOMES))


def command_and_rest(command, words: list[str]):
    """(the command that words name, what follows it)."""
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    return command, words


def fault_of(shown: str, commands) -> str:
    """What is wrong with a command as the text shows it; empty: nothing."""
    for words in variants(shown.replace("\\|", "|")):
        command, rest = command_and_rest(commands, words[1:])
        if command is commands or (getattr(command, "commands", None) and rest and rest[0].islower()):
            return f"no command '{rest[0]}'"
        known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
        if command.name == "serve":
            known |= options_of_serve()
        for word in rest:
            option = word.partition("=")[0].strip("[]")
            if option.startswith("-") and option not in known:
                return f"no option '{option}'"
    return ""


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_a_command_that_the_text_names_is_there_with_its_options(page, commands):
    shown = [(number, s) for number, line in outside_of_fences(page) for s in INLINE.findall(line)]
    assert [(n, s, fault) for n, s in shown if (fault := fault_of(s, commands))] == []


@pytest.mark.parametrize(
    ("shown", "fault"),
    [
        ("edgecl walk", "no command 'walk'"), ("edgecl store shrink DIR", "no command 'shrink'"),
        ("edgecl run --speed 3", "no option '--speed'"), ("edgecl serve --nowhere", "no option '--nowhere'"),
        ("edgecl bench latency \\| sleep", "no command 'sleep'"), ("edgecl store forget DIR --subject N", ""),
    ],
)  # fmt: skip
def test_a_command_that_is_not_there_would_be_found(shown, fault, commands):
    assert fault_of(shown, commands) == fault


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ("```python\n1 / 0\n```", "line 3"), ("```bash\nedgecl store verify nowhere\n```", "ended with 2"),
        ("```console\n$ edgecl --version\nedgecl 9.9\n```", "shows 'edgecl 9.9'"),
    ],
)  # fmt: skip
def test_a_block_that_fails_would_be_found(block, words, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n{block}\n")
    command = [sys.executable, "-P", str(FOLLOW), str(page)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode and words in done.stderr


def variants(shown: str) -> list[list[str]]:
    """`edgecl bench latency | energy` are two commands; everything else is one."""
    first, *others = shown.split(" | ")
    words = first.split()
    return [words, *([*words[:-1], *other.split()] for other in others)]


@cache
def options_of_serve() -> set[str]:
    """`edgecl serve` takes its options by itself."""
    environment = {**os.environ, "NO_COLOR": "1"}
    command = [sys.executable, "-P", "-m", "edgecl", "serve", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout
    return {w.strip("[],|") for w in text.split() if w.lstrip("[").startswith("--")}
