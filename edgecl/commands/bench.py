"""`edgecl bench`."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import parsing
from ..errors import BadInput, require
from .places import existing_folder, writable_file
from .show import print_table

app = typer.Typer(
    help="Measure this machine, or model others: latency, energy, memory, flash; the training benchmark.",
    no_args_is_help=True,
)

Nets = Annotated[str, typer.Option("--net", metavar="NAME,..", help="networks")]
Batch = Annotated[int, typer.Option("--batch", metavar="N", help="samples of a step")]
Densities = Annotated[str, typer.Option("--density", metavar="X,..", help="shares of living weights; dense is added")]
Threads = Annotated[int, typer.Option("--threads", metavar="N", help="kernel threads, each pinned to a core")]
Rounds = Annotated[int, typer.Option("--n", metavar="N", help="rounds that count; a published figure has at least 20")]
Devices = Annotated[str, typer.Option("--device", metavar="NAME,..|all", help="model these devices, measure nothing")]
Json = Annotated[str, typer.Option("--json", metavar="FILE", help="write the raw record")]
Plot = Annotated[str, typer.Option("--plot", metavar="FILE", help="draw it: .png, .svg or .pdf (extra 'report')")]


@app.command("latency", help="Seconds of a training step and of a prediction, ours against dense.")
def latency(
    net: Nets = "cnn", batch: Batch = 32, density: Densities = "0.25,0.1", threads: Threads = 1, n: Rounds = 20,
    device: Devices = "", to: Json = "", plot: Plot = "",
) -> int:  # fmt: skip
    from ..bench import kinds, work

    wanted = work.cases(net.split(","), batch, _shares(density), ("train", "predict"))
    if device:
        return _modelled("latency", wanted, device, threads, to, plot)
    return _measured("latency", lambda: kinds.latency(wanted, threads, n), threads, work.BASELINE, n, to, plot)


@app.command("energy", help="Joules of a training step, by a sensor; or modelled with --device.")
def energy(
    net: Nets = "cnn", batch: Batch = 32, density: Densities = "0.25,0.1", threads: Threads = 1, n: Rounds = 20,
    source: Annotated[str, typer.Option("--energy-source", metavar="SOURCE", help="auto, ina, rapl ..")] = "auto",
    device: Devices = "", to: Json = "", plot: Plot = "",
) -> int:  # fmt: skip
    from ..bench import kinds, work

    wanted = work.cases(net.split(","), batch, _shares(density), ("train",))
    if device:
        return _modelled("energy", wanted, device, threads, to, plot)
    return _measured("energy", lambda: kinds.energy(wanted, threads, n, source), threads, work.BASELINE, n, to, plot)


@app.command("memory", help="Peak memory that a training step adds to a process, against the plan and dense torch.")
def memory(
    net: Nets = "cnn", batch: Batch = 32, density: Densities = "0.25,0.1", threads: Threads = 1, n: Rounds = 20,
    to: Json = "", plot: Plot = "",
) -> int:  # fmt: skip
    from ..bench import kinds, work

    wanted = work.cases(net.split(","), batch, _shares(density), ("train",))
    return _measured("memory", lambda: kinds.memory(wanted, threads, n), threads, work.BASELINE, n, to, plot)


@app.command("flash", help="Speed of the disk under a folder, and of a sample store on it.")
def flash(
    disk: Annotated[str, typer.Option("--disk", metavar="DIR", help="folder on the disk to measure")] = ".",
    n: Rounds = 20, to: Json = "", plot: Plot = "",
) -> int:  # fmt: skip
    from ..bench import kinds

    folder = existing_folder(disk)
    return _measured("flash", lambda: kinds.flash(folder, n), 1, "none: figures of this disk", n, to, plot)


@app.command("serve", help="The service under load, each figure beside its control. Exit status 1 on a miss.")
def serve(
    case: Annotated[str, typer.Option("--case", metavar="idle|start|predict|observe", help="what")] = "predict",
    clients: Annotated[str, typer.Option("--clients", metavar="N,..", help="of predict, at once")] = "1,8",
    requests: Annotated[int, typer.Option("--requests", metavar="N", help="of predict and observe")] = 2000,
    learning: Annotated[bool, typer.Option("--learning", help="predict while it learns")] = False,
    stored: Annotated[int, typer.Option("--stored", metavar="N", help="start: samples in the store")] = 0,
    to: Json = "",
) -> int:
    require("uvicorn", "service")
    from ..bench import serving
    from ..bench.measure import Conditions, record

    if case not in ("idle", "start", "predict", "observe"):
        raise BadInput(f"There is no case '{case}'.", "Use idle, start, predict or observe.")
    if to:
        writable_file(to)
    conditions = Conditions([])
    if case == "predict":
        rows = [serving.predict(parsing.count(1, 64)("clients", n), requests, learning) for n in clients.split(",")]
    else:
        rows = [{"idle": serving.idle, "start": lambda: serving.start(stored),
                 "observe": lambda: serving.observe(requests)}[case]()]  # fmt: skip
    for row in rows:
        print_table([row["case"], ""], [[k, f"{v:.4g}" if isinstance(v, float) else str(v)] for k, v in row.items()])
    if to:
        found = record("serve", _command(), rows, "in each row", conditions.to_json())
        Path(to).write_text(json.dumps(found, indent=1) + "\n")
    return 1 if any(row["missed"] for row in rows) else 0


@app.command("training", help="The open training benchmark: one fixed task, several seeds, one result file.")
def training(
    task: Annotated[str, typer.Option("--task", metavar="image|inertial|keyword|glyph", help="which task")] = "",
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", help="runs; a result to publish has at least 3")] = 3,
    division: Annotated[str, typer.Option("--division", metavar="closed|open", help="see the rules")] = "closed",
    given: Annotated[list[str] | None, typer.Option("--set", metavar="OPTION=VALUE", help="an option of a run")] = None,
    store: Annotated[str, typer.Option("--store", metavar="DIR", help="below it each seed has a sample store")] = "",
    quick: Annotated[bool, typer.Option("--quick", help="a fraction of the data: a trial, not a result")] = False,
    check: Annotated[str, typer.Option("--check", metavar="FILE", help="check a result against schema and rules")] = "",
    out: Annotated[str, typer.Option("--out", metavar="FILE", help="write the result")] = "",
) -> int:
    from ..bench import training as bench

    if check:
        result = bench.read_result(Path(check))
        print(f"{check}: a valid result of task '{result['task']}', {result['division']} division")
    elif not task:
        raise BadInput("No task was named.", f"Give --task {'|'.join(bench.TASKS)}, or --check FILE.")
    else:
        if out:
            writable_file(out)
        options = dict(_option(text) for text in given or [])
        say = lambda text: print(text, file=sys.stderr, flush=True)  # noqa: E731
        place = Path(store) if store else None
        result = bench.run_task(task, seeds, division, options, quick, _command(), say, place)
        if out:
            Path(out).write_text(json.dumps(result, indent=1) + "\n")
    head, rows = bench.table(result)
    print_table(head, rows)
    return 0


def _option(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise BadInput(f"--set {text} has no value.", "Write --set option=value, such as --set sparsity=0.9.")
    return name.replace("-", "_"), value


def _shares(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise BadInput(f"The densities '{text}' cannot be read.", "Write them like 0.25,0.1.") from None


def _command() -> str:
    return shlex.join(["edgecl", *sys.argv[1:]])


def _measured(
    name: str, work: Callable[[], list[dict[str, Any]]], threads: int, baseline: str, rounds: int, to: str, plot: str
) -> int:
    from ..bench.measure import Conditions, pinned, record

    if rounds < 1:
        raise BadInput(f"--n {rounds} measures nothing.", "Give at least 1; 20 for a figure to publish.")
    _check_files(to, plot)
    # torch keeps a thread pool of its own, which must see the cores that are left before it is imported
    with ExitStack() as stack:
        cores = [] if name == "flash" else stack.enter_context(pinned(threads))
        conditions = Conditions(cores)
        rows = work()
        return _finish(record(name, _command(), rows, baseline, conditions.to_json()), to, plot)


def _modelled(name: str, wanted: Any, devices: str, threads: int, to: str, plot: str) -> int:
    from ..bench.measure import record
    from ..bench.modelled import modelled_rows, profiles_of
    from ..bench.work import BASELINE

    _check_files(to, plot)
    rows = modelled_rows(wanted, profiles_of(devices), threads)
    return _finish(record(name, _command(), rows, BASELINE, None), to, plot)


def _check_files(to: str, plot: str) -> None:
    """What was measured must not be lost for want of a place."""
    for path in filter(None, (to, plot)):
        writable_file(path)
    if plot:
        if Path(plot).suffix not in (".png", ".svg", ".pdf"):
            raise BadInput(f"'{plot}' names no kind of picture.", "End it with .png, .svg or .pdf.")
        require("matplotlib", "report")


def _figure(record: dict[str, Any]) -> str:
    return "joules" if record["bench"] == "energy" else "seconds"


def _finish(record: dict[str, Any], to: str, plot: str) -> int:
    from ..bench import show
    from ..bench.measure import ceilings_line

    if len({r.get("device") for r in record["rows"]}) > 1:
        for i, (head, rows) in enumerate(show.comparison(record["rows"], _figure(record))):
            print("\n" * (i > 0), end="")
            print_table(head, rows)
        print("\nOf a step, modelled from device profiles, not measured; in brackets where the true value is expected.")
        print(f"gain: {record['baseline']}, over edgecl at the lowest density")
    else:
        print_table(*show.table(record["rows"]))
    conditions = record["conditions"]
    if conditions is not None:
        after = conditions["after"]
        heat = "no sensor" if after["temperature"] is None else f"{after['temperature']:.1f} C"
        slowed = ", ".join(after["throttled_now"]) or "no"
        print(f"baseline: {record['baseline']}; temperature: {heat}; throttled: {slowed}")
        print(ceilings_line(record["ceilings"]))
    if to:
        Path(to).write_text(json.dumps(record, indent=1) + "\n")
    if plot:
        show.plot(record, Path(plot))
        print(f"plot: {plot}")
    return 0
