"""Follow a page to its end: ``python follow.py PAGE``, in an empty folder, with any Python that has edgecl.

First the page's stage (``stages/NAME.py``: files and names that the page's reader has), then its Python blocks and
`edgecl` lines in the page's order, in one namespace and one folder. `SHORTER` holds what is added to lines that would
take minutes; ``--whole`` leaves that out.
"""

from __future__ import annotations

import linecache
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace as replaced
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from page_blocks import Block, blocks

FREE = "FREE"  # stands for a port that nobody has
SHORTER = {
    ("run",): ["--seconds", "0.3"],
    ("teach",): ["--no-browser", "--port", FREE],
    ("fleet", "simulate"): [
        *("--devices", "2", "--rounds", "1", "--steps", "2"),
        *("--limit-train", "300", "--tests", "20", "--who", "edgecl"),
    ],
}
SERVES = {("teach",): "http"}  # command -> what it prints when it is up; it is then ended by Ctrl-C
LONGEST = 120  # seconds of one line


def follow(page: Path, whole: bool = False) -> int:
    """Run a page here; how many blocks ran. Raises what a block raises, and RuntimeError for a line that fails."""
    stage = Path(__file__).parent / "stages" / f"{page.stem}.py"
    names: dict = {"__name__": "page"}
    if stage.exists():
        exec(compile(stage.read_text(), str(stage), "exec"), names)
    replace = names.pop("REPLACE", {})
    count = 0
    for block in blocks(page):
        text = block.text
        for theirs, ours in replace.items():
            text = text.replace(theirs, ours)
        if block.file:
            Path(block.file).write_text(text)
        if block.not_run or not block.runs:
            continue
        count += 1
        if block.language == "python":
            _python(block, text, names)
        else:
            commands = replaced(block, text=text).commands
            said = [_edgecl(words[1:], f"{page.name}:{block.line}", whole) for words in commands]
            if block.language == "console":
                _shown(block, "".join(said))
    names.get("close", lambda: None)()
    return count


def _python(block: Block, text: str, names: dict) -> None:
    where = str(block.page)
    source = "\n" * (block.line - 1) + text  # lines of a traceback are those of the page
    linecache.cache[where] = (len(source), None, source.splitlines(True), where)
    exec(compile(source, where, "exec"), names)


def _shown(block: Block, said: str) -> None:
    """What a page shows of the answers has to be in them."""
    for line in block.text.splitlines():
        if not line.startswith("$ ") and line not in said:
            raise RuntimeError(f"{block.page.name}:{block.line} shows '{line}', the command says:\n{said}")


def _edgecl(words: list[str], where: str, whole: bool) -> str:
    """Run a line; what it said. Raises RuntimeError where its exit status is not 0."""
    added = [] if whole else next((more for c, more in SHORTER.items() if tuple(words[: len(c)]) == c), [])
    added = [str(_free_port()) if word is FREE else word for word in added]
    up = next((text for c, text in SERVES.items() if tuple(words[: len(c)]) == c), None)
    line = [sys.executable, "-P", "-m", "edgecl", *words, *added]
    environment = {**os.environ, "NO_COLOR": "1"}
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment) as child:
        try:
            said = _until(child, up) if up else child.communicate(timeout=3600 if whole else LONGEST)[0]
        except BaseException:
            child.kill()
            raise
    if child.returncode:
        raise RuntimeError(f"{where}: edgecl {' '.join([*words, *added])} ended with {child.returncode}:\n{said}")
    return said


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _until(child: subprocess.Popen, up: str) -> str:
    """What the child said until it was up; then it is interrupted."""
    assert child.stdout is not None
    said, ends = "", time.monotonic() + LONGEST
    while up not in said and time.monotonic() < ends and (line := child.stdout.readline()):
        said += line
    child.send_signal(signal.SIGINT)
    said += child.communicate(timeout=LONGEST)[0]
    if up not in said:
        raise RuntimeError(f"It never said '{up}':\n{said}")
    return said


if __name__ == "__main__":
    print(follow(Path(sys.argv[1]).resolve(), whole="--whole" in sys.argv), "blocks ran")
