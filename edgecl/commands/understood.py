"""What the program understood of the data, said before it is used."""

from __future__ import annotations

import sys
from typing import Any

from ..config import Config
from ..data import Stream, configured_stream
from ..data.streams import STREAMS
from .refusal import drop_output


def say_understood(config: Config) -> None:
    """Convert the run's data where it is the user's own, and print what was understood and how it is cut."""
    if config.stream in STREAMS and not config.cutting.given:
        return
    stream = configured_stream(config)
    stream.close()
    for line in understood(stream.about):
        try:
            print(line, flush=True)
        except BrokenPipeError:  # whoever read has left: the run goes on
            drop_output(sys.stdout)


def understood(about: dict[str, Any]) -> list[str]:
    """A line on the samples, one on the stream, and one a warning."""
    lines = [f"data: {about['line']}"] if "line" in about else []
    lines += [f"stream: {about['cut']}"] if "cut" in about else []
    return lines + [f"warning: {text}" for text in about.get("warnings", [])]


def to_json(stream: Stream) -> dict[str, Any]:
    """`edgecl data check --json`."""
    about = stream.about
    facts = {name: about.get(name) for name in ("kind", "samples", "classes", "shape", "labels", "left_out", "notes")}
    return {
        **facts,
        "warnings": about.get("warnings", []),
        "refused": None,
        "line": about.get("line"),
        "cut": about.get("cut"),
        "tasks": [
            {"name": task.name, "train_samples": len(task.train), "test_samples": len(task.test)}
            for task in stream.tasks
        ],
    }
