"""The open training benchmark: four fixed tasks, rules in docs/training_benchmark.md, results as JSON of one schema."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from .. import __version__
from ..child import python_command
from ..commands.fresh import GLIBC_TRIMS_EARLY
from ..config import DATA_OPTIONS, Config
from ..data import fetch_stream_data
from ..errors import BadInput, EdgeclError, unknown_name
from ..former_names import present_names
from ..report.record import check_schema, host_facts, read_object
from .measure import Conditions, Spread, ceilings
from .show import quantity

SCHEMA = "edgecl.training/1"
SEEDS = 3  # the least that a result rests on
DIVISIONS = ("closed", "open")
FRAMEWORK = "edgecl"


@dataclass(frozen=True)
class TrainingTask:
    """A fixed task. network, batch, passes over a task's samples and memory slots bind the closed division.

    slots : samples that the replay memory in RAM may hold (their bytes are the limit for any framework)
    quick : training samples of a trial
    """

    stream: str
    network: str
    batch: int
    passes: int
    slots: int
    quick: int

    @property
    def fixed(self) -> dict[str, Any]:
        """The closed division's options of a run."""
        return {
            "stream": self.stream, "network": self.network, "batch": self.batch, "epochs": self.passes,
            "memory": self.slots, "augment": "none",
        }  # fmt: skip


TASKS = {
    "image": TrainingTask("split-fashion", "cnn", 32, 1, 500, 1000),
    "inertial": TrainingTask("hapt-activities", "cnn1d", 32, 5, 240, 1200),
    "keyword": TrainingTask("keywords", "cnn1d", 32, 10, 600, 1800),
    "glyph": TrainingTask("noto-glyphs", "cnn", 32, 10, 2594, 5188),
}
METHOD = {"method": "der++", "device": None}  # where --set says nothing


@cache
def result_schema() -> dict[str, Any]:
    """The JSON schema of a result."""
    return json.loads(Path(__file__).with_name("training_result.schema.json").read_text())


def options_of(
    task: str, division: str, given: Mapping[str, Any], quick: bool, store: str | None = None
) -> dict[str, Any]:
    """The options of a run. Raises `BadInput` for what the division fixes, and for anything that moves the test set."""
    if task not in TASKS:
        raise unknown_name("training task", task, TASKS)
    if division not in DIVISIONS:
        raise unknown_name("division", division, DIVISIONS)
    fixed = TASKS[task].fixed
    barred = {"limit_train", "limit_tasks", "validation", "seed", "out", "store", "stream", *DATA_OPTIONS}
    barred |= set(fixed) if division == "closed" else {"epochs", "memory"}
    given = present_names(given)
    for name in given:
        if name in barred:
            what = f"The {division} division fixes" if name in fixed else "A result cannot choose"
            raise BadInput(f"{what} '{name}'.", f"Drop --set {name}=..; the rules: docs/training_benchmark.md.")
    options = {**fixed, **METHOD, **given}
    if quick:
        options["limit_train"] = TASKS[task].quick
    Config.make({**options, "store": store})
    return options


def run_task(
    task: str,
    seeds: int,
    division: str = "closed",
    given: Mapping[str, Any] | None = None,
    quick: bool = False,
    command: str = "",
    say: Callable[[str], None] = lambda text: None,
    store: Path | None = None,
) -> dict[str, Any]:
    """Seeds 0..seeds-1, each in a fresh process; the result, checked.

    store : a folder below which every seed has a sample store of its own while it runs
    """
    options = options_of(task, division, given or {}, quick, None if store is None else str(store))
    if seeds < 1:
        raise BadInput(f"{seeds} seeds run nothing.", "Give at least 1; 3 for a result.")
    fetch_stream_data(options["stream"])
    runs, record = [], {}
    for seed in range(seeds):
        say(f"{task}: seed {seed}, {seed + 1} of {seeds}")
        conditions = Conditions([])
        record = _stored_run({**options, "seed": seed}, store)
        runs.append(
            {
                "seed": seed,
                "finished": record["status"]["finished"],
                "steps": record["steps"],
                "samples_seen": record["stream"]["train_samples"] * options["epochs"],
                "figures": figures(record, options["epochs"]),
                "conditions": conditions.to_json(),
            }
        )
    stream = record["stream"]
    sample = record["plan"]["growth_bytes"]["memory"]
    result = {
        "schema": SCHEMA,
        "task": task,
        "division": division,
        "trial": quick or seeds < SEEDS,
        "framework": f"{FRAMEWORK} {__version__}",
        "command": command,
        "date": time.strftime("%Y-%m-%d"),
        "system": {**host_facts(), "ceilings": ceilings()},
        "stream": {
            "name": stream["name"], "identity": stream["identity"], "train_samples": stream["train_samples"],
            "test_samples": stream["test_samples"], "synthetic": task == "keyword",
        },
        "network": record["config"]["network"],
        "method": record["config"]["method"],
        "memory_bytes": sample,
        "passes": options["epochs"],
        "options": {k: v for k, v in record["config"].items() if k not in ("seed", "out", "store")},
        "store": store is not None,
        "runs": runs,
        "summary": summary([run["figures"] for run in runs]),
    }  # fmt: skip
    check_result(result)
    return result


def figures(record: Mapping[str, Any], passes: int) -> dict[str, Any]:
    """What the benchmark compares, of one run record."""
    joules, seen = record["device"]["energy_joules"], record["stream"]["train_samples"] * passes
    return {
        "average_accuracy": record["metrics"]["average_accuracy"],
        "forgetting": record["metrics"]["forgetting"],
        "train_seconds": record["seconds"]["train"],
        "seconds_per_sample": record["seconds"]["train"] / seen,
        "joules": joules["value"],
        "joules_source": joules["source"],
        "peak_rss_bytes": record["memory"]["measured_peak_rss_bytes"],
        "flash_bytes_written": record["carousel"]["bytes_written"],
    }


def summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Medians over the runs; a figure that one of them lacks is None."""
    found: dict[str, Any] = {}
    for name, first in runs[0].items():
        values = [run[name] for run in runs]
        if isinstance(first, str):
            found[name] = first
        elif any(v is None for v in values):
            found[name] = None
        else:
            middle = Spread.of(values).median
            found[name] = round(middle) if isinstance(first, int) else middle
    return found


def _stored_run(options: Mapping[str, Any], below: Path | None) -> dict[str, Any]:
    """A fresh run, with an empty store ``below`` a folder where there is one."""
    if below is None:
        return _fresh_run(options)
    try:
        below.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".edgecl-bench-", dir=below) as place:
            return _fresh_run({**options, "store": f"{place}/store"})
    except OSError as error:
        raise BadInput(f"'{below}' takes no store: {error.strerror}.", "Give --store a folder to write in.") from error


def _fresh_run(options: Mapping[str, Any]) -> dict[str, Any]:
    """A run in a process of its own, so that peak memory is the run's; its record."""
    job = json.dumps({"options": dict(options), "resume": None, "json": True, "command": "edgecl bench training"})
    done = subprocess.run(
        python_command("edgecl.commands.train", job), capture_output=True, text=True, stdin=subprocess.DEVNULL,
        env={**os.environ, **GLIBC_TRIMS_EARLY},
    )  # fmt: skip
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        cause = next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), lines[-1])
        remedy = next((line.removeprefix("  try: ") for line in lines if line.startswith("  try: ")), "Report this.")
        raise EdgeclError(cause, remedy)
    return json.loads(done.stdout)


def check_result(result: Mapping[str, Any]) -> None:
    """Schema, then the rules that it cannot say. Raises `BadInput`."""
    check_schema(result, result_schema(), "The result")
    task, runs = TASKS[result["task"]], result["runs"]
    rules = "The rules: docs/training_benchmark.md."
    if len({run["seed"] for run in runs}) != len(runs):
        raise BadInput("Two runs of the result have the same seed.", rules)
    if not result["trial"]:
        if len(runs) < SEEDS or not all(run["finished"] for run in runs):
            raise BadInput(f"The result has {len(runs)} runs, or one that did not finish.", f"Give {SEEDS}. {rules}")
        if result["stream"]["name"] != task.stream:
            raise BadInput(f"The stream is '{result['stream']['name']}', not '{task.stream}'.", rules)
    if result["passes"] > task.passes:
        raise BadInput(f"{result['passes']} passes over a task's samples, {task.passes} are allowed.", rules)
    if result["division"] == "closed" and result["network"] != task.network:
        raise BadInput(f"The network is '{result['network']}', the closed division's is '{task.network}'.", rules)
    if result["summary"] != summary([run["figures"] for run in runs]):
        raise BadInput("The summary is not the median of the runs.", rules)


def read_result(path: Path) -> dict[str, Any]:
    """A checked result file."""
    result = read_object(path, "result", "Give the file of --out.")
    check_result(result)
    return result


def table(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and cells: a row per seed and the median."""
    units = {"train_seconds": "s", "seconds_per_sample": "s", "joules": "J", "peak_rss_bytes": "B",
             "flash_bytes_written": "B"}  # fmt: skip
    names = [n for n in result["summary"] if n != "joules_source"]

    def cells(values: Mapping[str, Any]) -> list[str]:
        return [
            quantity(values[n], units[n]) if n in units else "" if values[n] is None else f"{values[n]:.4f}"
            for n in names
        ]

    rows = [[f"seed {run['seed']}", *cells(run["figures"])] for run in result["runs"]]
    last = "median (trial)" if result["trial"] else "median"
    head = [f"{result['task']}, {result['division']}", *(n.replace("_", " ") for n in names)]
    return head, [*rows, [last, *cells(result["summary"])]]
