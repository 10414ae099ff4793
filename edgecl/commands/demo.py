"""`edgecl demo`: naive training beside SparCL-DER++ at 90 % sparsity with the carousel, and whether it shows what it
should."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ..child import python_command
from ..data import fetch_stream_data
from ..errors import BadInput
from ..parsing import size
from ..report.record import read_record
from ..report.table import comparison
from .show import print_table

HELP = """Learn the ten digits two at a time inside 96 MB: once naively, which forgets, and once with replay
on a network that is 90 % sparse, with the carousel. Ends with both side by side and a list of what holds.

Exit status 1 when something of that list does not hold."""

STREAM = "split-mnist5k"
COMMON = {"stream": STREAM, "device": "rpi_4b"}
NAIVE = {"method": "naive"}
SPARCL = {
    **{"method": "der++", "alpha": 0.2, "beta": 1, "lr-schedule": "cosine"},  # chosen on validation
    **{"sparsity": 0.9, "gradient-keep": 0.8, "remove": 0.3},
}
# Minutes on an emulated board: fewer samples, the same batch, memory slots, store and so the same memory plan.
SLICE = {"limit-tasks": 2, "limit-train": 400, "epochs": 2}  # 200 samples a task: the sparse schedule needs 10 steps

Claims = Iterator[tuple[str, bool]]


def command(
    out: Annotated[str, typer.Option("--out", metavar="DIR", help="folder of runs and store; emptied first")] = "demo",
    ram: Annotated[str, typer.Option("--ram", metavar="SIZE", help="peak memory of each run")] = "96MB",
    sliced: Annotated[
        bool, typer.Option("--slice", help="2 tasks of 200 samples, 2 epochs: all but the claims on accuracy")
    ] = False,
) -> int:
    """Two `edgecl run` in processes of their own, then what they show; 0 when all of it holds."""
    folder = Path(out)
    size("--ram", ram)
    empty(folder)
    fetch_stream_data(STREAM)
    common: dict[str, Any] = {**COMMON, "ram": ram, **(SLICE if sliced else {})}
    runs: dict[str, dict[str, Any]] = {"naive": {**NAIVE}, "sparcl": {**SPARCL, "store": folder / "store"}}
    for name, options in runs.items():
        status = run({**common, **options, "out": folder / name})
        if status:
            return status
    paths = [str(folder / name / "run.json") for name in runs]
    records = [read_record(path) for path in paths]
    print_table(*comparison(list(zip(paths, records))))
    naive, sparcl = records
    claims = list(behaviour(naive, sparcl)) + ([] if sliced else list(accuracy(naive, sparcl)))
    print()
    for text, held in claims:
        print(f"{'holds' if held else 'FAILS'}  {text}")
    return 0 if all(held for _, held in claims) else 1


def empty(folder: Path) -> None:
    """Take away what an earlier demo left, and nothing else. Raises `BadInput`."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        mark = {"naive": "config.json", "sparcl": "config.json", "store": "store.json"}.get(path.name)
        if mark is None or not ((path / mark).exists() or (path.is_dir() and not any(path.iterdir()))):
            raise BadInput(f"'{path}' is not of an earlier demo.", "Give --out a new folder.")
    for name in ("naive", "sparcl", "store"):
        shutil.rmtree(folder / name, ignore_errors=True)


def run(options: Mapping[str, Any]) -> int:
    """`edgecl run` with ``options``, shown first; its exit status."""
    words = ["run", *(word for name, value in options.items() for word in (f"--{name}", str(value)))]
    print(shlex.join(["edgecl", *words]), flush=True)
    return subprocess.run(python_command("edgecl.__main__", *words), check=False).returncode


def behaviour(naive: Mapping[str, Any], sparcl: Mapping[str, Any]) -> Claims:
    """What any run of the demo shows, however short."""
    for name, record in (("naive", naive), ("sparcl", sparcl)):
        memory = record["memory"]
        yield f"{name}: completed", record["status"]["reason"] == "completed"
        yield (
            f"{name}: peak {memory['measured_peak_rss_bytes'] / 1e6:.1f} MB within {memory['budget_bytes'] / 1e6:g} MB",
            memory["measured_peak_rss_bytes"] <= memory["budget_bytes"],
        )
    flops, carousel = sparcl["flops"]["full"], sparcl["carousel"]
    share = flops["executed"] / flops["dense"]
    yield f"sparcl: {share:.1%} of the dense run's FLOPs, at most 15 %", share <= 0.15
    train = sparcl["stream"]["train_samples"]
    yield f"sparcl: {carousel['samples_stored']} of {train} samples stored", carousel["samples_stored"] == train
    yield f"sparcl: {carousel['swaps_done']} exchanges between memory and store", carousel["swaps_done"] > 0


def accuracy(naive: Mapping[str, Any], sparcl: Mapping[str, Any]) -> Claims:
    """What the whole stream shows: one forgets, the other does not."""
    low, high = naive["metrics"]["average_accuracy"], sparcl["metrics"]["average_accuracy"]
    yield f"naive: average accuracy {low:.3f}, at most 0.25", low <= 0.25
    yield f"sparcl: average accuracy {high:.3f}, at least 0.80", high >= 0.80
