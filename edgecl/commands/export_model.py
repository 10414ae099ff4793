"""`edgecl export`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ..checkpoint import generations
from ..errors import BadInput
from ..exporting import Exported, Leaving, export, of_core, of_network
from ..learner import Learner
from ..learning.resuming import resumed_options, with_saved_front
from ..learning.root_key import root_key
from ..network import SUFFIX, Network
from ..planning.run_plan import prepare
from ..plugins import use as use_plugins
from ..report.record import read_record
from ..run import Run
from .places import writable_file
from .refusal import show
from .show import print_table

HELP = """Write what was learned as an ONNX file: normalisation inside, raw input, the classes seen so far.

Examples:

  edgecl export run1 --onnx digits.onnx

  edgecl export run1 --onnx digits8.onnx --int8

The file is compared with the network's own predictions on samples of its memory, in onnxruntime or in
onnx's reference, and not kept where they differ. int8 is calibrated with samples of the memory and
judged on others; a drop of more than 2 points of accuracy is refused."""


def command(
    source: Annotated[
        str, typer.Argument(metavar="RUN|SAVED|MODEL", help="a run's --out, a saved learner's folder, a .edgecl file")
    ],
    path: Annotated[str, typer.Option("--onnx", metavar="FILE", help="the file to write")],
    int8: Annotated[bool, typer.Option("--int8", help="quantise weights and activations to 8 bits")] = False,
    allow_drop: Annotated[bool, typer.Option("--allow-drop", help="keep an int8 file whatever it costs")] = False,
    keep_bn: Annotated[
        bool, typer.Option("--keep-bn", help="batch normalisation as nodes of its own, to be trained again")
    ] = False,
    features: Annotated[bool, typer.Option("--features", help="also give the classifier's input")] = False,
    root_key_file: Annotated[
        str, typer.Option("--root-key-file", metavar="FILE", help="key of an encrypted state")
    ] = "",
    use: Annotated[list[str] | None, typer.Option("--use", metavar="FILE.py|MODULE", help="import this first")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> int:
    """Open, export, say what came of it."""
    writable_file(path)
    use_plugins(use or ())
    how = {"int8": int8, "allow_drop": allow_drop, "keep_bn": keep_bn, "features": features}
    with opened(source, root_key_file) as leaving:
        found = export(leaving, path, **how)
    if found.runtime == "none":
        show("warning: without onnxruntime the file was not compared; install: pip install 'edgecl[onnx]'\n")
    if as_json:
        print(json.dumps(_plain(found), indent=1))
    else:
        print_table(["", ""], rows(found, leaving))
    return 0


@contextmanager
def opened(source: str, root_key_file: str) -> Iterator[Leaving]:
    """What is exported of a network's file, a saved learner or a run; it is closed again afterwards."""
    path = Path(source)
    if path.suffix == SUFFIX:
        yield of_network(Network.load(path))
    elif (path / "config.json").is_file():
        options, saved = resumed_options(path, {"root_key_file": root_key_file} if root_key_file else {})
        if saved is None:
            raise BadInput(f"The run in '{path}' has saved nothing yet.", "Wait for its first task.")
        with Run(prepare(with_saved_front(options, saved)), "edgecl export") as job:
            job.restore(saved)
            yield of_core(job.core, job.prepared.stream.labels, _reason(path))
    elif generations(path):
        key = root_key(root_key_file or None, source)
        with Learner.open(path, root_key=key) as learner:
            yield of_core(learner.core, learner.labels)
    else:
        raise BadInput(f"'{source}' holds no run, no saved learner and no network.", "Give a folder or a .edgecl file.")


def _reason(folder: Path) -> str | None:
    """Why the run ended, where it did."""
    record = folder / "run.json"
    return str(read_record(str(record))["status"]["reason"]) if record.is_file() else None


def rows(found: Exported, leaving: Leaving) -> list[list[str]]:
    """What a person wants to know of the file."""
    lines = [
        ["file", str(found.path)],
        ["bytes", str(found.bytes)],
        ["classes", ", ".join(map(str, leaving.labels))],
        ["compared", f"within {found.max_abs:.2g} in {found.runtime} on {found.n} samples"],
    ]
    if (drop := found.drop) is not None:
        lines.append(["accuracy", f"float32 {drop.float32:.3f}, int8 {drop.int8:.3f} on {drop.held} memory samples"])
        lines.append(["quantised", f"with {drop.calibrated} others; its process took {drop.peak / 1e6:.0f} MB"])
    return lines


def _plain(found: Exported) -> dict[str, Any]:
    return {**vars(found), "path": str(found.path), "drop": None if found.drop is None else vars(found.drop)}
