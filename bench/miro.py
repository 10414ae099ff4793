"""Miro against fixed sizes of memory and stream buffer: accuracy and modelled joules, trials included.

Fixed settings are memory and task at 100, 50 and 25 % each, for the whole stream from the second task on, as Miro's.
Best and worst are those of most and least accuracy per joule. The trials' joules count as Miro's. A run is written
down when it is done; the same command goes on where it stopped.

    python bench/miro.py --json bench/results/miro.json --markdown docs/miro.md
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from carousel import summary
from common import arguments, table, write

from edgecl.budget.miro import SHARES, Resources, Score, Setting
from edgecl.learning.miro import Miro
from edgecl.planning.run_plan import prepare
from edgecl.run import Run

COMMON: dict[str, Any] = {
    "method": "er",
    "sparsity": 0.75,
    "sparsity_policy": "static",
    "batch": 16,
    "lr": 0.1,
    "lr_schedule": "cosine",
    "memory_policy": "balanced",
    "gate": "all",
    "miro": 2,
    "device": "rpi_4b",
    "threads": 1,
}
STREAMS: dict[str, dict[str, Any]] = {
    "split-mnist5k": {"network": "mlp", "epochs": 10, "memory": 200},
    "split-fashion": {"network": "mlp", "epochs": 5, "memory": 200, "limit_train": 10000},
    "keywords": {"network": "cnn1d", "epochs": 10, "memory": 120},
}
MIRO = "miro"
FIXED = {f"memory {m:.0%}, buffer {b:.0%}": (m, b) for m in SHARES for b in SHARES}
SETTINGS = [MIRO, *FIXED]
NAMES = ("stream", "setting", "seed")
Key = tuple[str, str, int]


class Fixed(Miro):
    """One setting for every task, without trials."""

    shares = (1.0, 1.0)

    def _profile(self, task, found, train, units, old):  # type: ignore[no-untyped-def]
        memory, buffer = (round(s * n) for s, n in zip(self.shares, (self.plan.config.memory, len(train))))
        self.resources = Resources(max(memory, len(old)))
        return [Score(Setting(self.resources.memory, max(buffer, 1)), 0.0, 1.0)]


def options(key: Key) -> dict[str, Any]:
    """Of a run, but for the folder of its store."""
    stream, _, seed = key
    return {**COMMON, **STREAMS[stream], "stream": stream, "seed": seed}


def one(key: Key) -> dict[str, Any]:
    """The figures of one run."""
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare({**options(key), "store": f"{folder}/store"})
        with Run(prepared, "bench") as job:
            if key[1] != MIRO:
                job.miro = Fixed(job.core.trainer, prepared.plan, job.prepared.config.miro - 1)
                job.miro.shares = FIXED[key[1]]
            record = job.execute()
            said = [text for _, _, text in job.core.trainer.log if text.startswith("miro")]
            trials = job.miro.trial_steps
    return {
        "accuracy": record["metrics"]["average_accuracy"],
        "joules": record["device"]["energy_joules"]["value"],
        "source": record["device"]["energy_joules"]["source"],
        "steps": record["steps"],
        "trial_steps": trials,
        "choices": said if key[1] == MIRO else [],
        "options": options(key),
    }


def rows_of(done: dict[Key, dict[str, Any]]) -> list[dict[str, Any]]:
    """A row per stream and setting, over the seeds that all settings have; accuracies in percent."""
    rows = []
    for stream in STREAMS:
        seeds = sorted(set.intersection(*({k[2] for k in done if k[:2] == (stream, s)} for s in SETTINGS)))
        if seeds:
            found = [_row(stream, s, [done[stream, s, seed] for seed in seeds]) for s in SETTINGS]
            fixed = sorted(found[1:], key=lambda r: r["accuracy_per_joule"])
            _mark(fixed[-1], "best per joule")
            _mark(fixed[0], "worst per joule")
            _mark(max(fixed, key=lambda r: r["accuracy"]), "most accurate")
            _mark(min(fixed, key=lambda r: r["accuracy"]), "least accurate")
            rows += found
    return rows


def _row(stream: str, setting: str, runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    accuracy, joules = [100 * r["accuracy"] for r in runs], [r["joules"] for r in runs]
    return {
        "stream": stream,
        "setting": setting,
        "n": len(runs),
        "accuracy": mean(accuracy),
        "accuracy_std": summary(accuracy)[1],
        "joules": mean(joules),
        "accuracy_per_joule": mean(accuracy) / mean(joules),
        "trial_share_of_joules": mean(r["trial_steps"] / (r["steps"] + r["trial_steps"]) for r in runs),
        "mark": "",
    }


def _mark(row: dict[str, Any], mark: str) -> None:
    row["mark"] = ", ".join(filter(None, (row["mark"], mark)))


NOTES = (
    "How it decides, all of it fixed on the last fifth of every class's training samples with seeds 100 and 101:",
    "",
    "- Memory costs no joules: a step replays as many rows from a small memory as from a large one (in the paper an",
    "  epoch runs over memory and buffer, so there it does). So the largest that RAM allows is taken.",
    "- Buffers of 100, 50 and 25 % of a task are tried at 5 to 25 % of their size, all at the same share, with the",
    "  same draws, from one warm-up. A setting may cost up to a fifth of the best held-out accuracy; a low battery",
    "  or heat allow more. Small trials overstate what a smaller buffer costs.",
    "- The 2nd, 4th, 8th .. task is profiled, and less RAM has the next one profiled; profiles are averaged.",
    "",
    "Accuracy per joule favours the smallest buffer wherever accuracy grows less than proportionally, so the best",
    "fixed setting is the smallest. Miro does not know that beforehand: it pays for its trials, and on `split-mnist5k`",
    "keeps half of the first tasks. On `keywords` a trial's few dozen samples hardly teach the new classes and do not",
    "show what a smaller buffer costs; where one trial did (seed 2), early tasks were trained in full and late ones",
    "in part, which is worse than half of each. Who wants accuracy above all leaves `--miro` off.",
)


def markdown(rows: Sequence[dict[str, Any]], path: str) -> None:
    """The page for the documentation."""
    lines = [
        "# Miro: buffer sizes by accuracy per joule",
        "",
        "`--miro N` chooses, from task N on, how much of each task is trained on, and keeps the memory as large as RAM",
        "allows: short trials on a reduced task, scored on samples held out of the training set. Average accuracy in",
        "percent after the last task, mean and standard deviation over n seeds; joules modelled (rpi_4b), trials",
        "included. Fixed settings are memory and task at 100, 50 and 25 % each; best and worst are those of most and",
        "least accuracy per joule. ER, gate `all`, sparsity 75 %.",
        "Made by `python bench/miro.py`; every run and choice is in `bench/results/miro.json`.",
        "",
        "| stream | setting | n | accuracy | joules | points per joule | trials' share | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        if r["setting"] == MIRO or r["mark"] or r["setting"].startswith("memory 100%"):
            cells = [r["stream"], r["setting"], str(r["n"]), f"{r['accuracy']:.1f} ± {r['accuracy_std']:.1f}"]
            cells += [f"{r['joules']:.1f}", f"{r['accuracy_per_joule']:.2f}", f"{r['trial_share_of_joules']:.1%}"]
            lines.append("| " + " | ".join([*cells, r["mark"]]) + " |")
    Path(path).write_text("\n".join([*lines, "", *NOTES, ""]), encoding="utf-8")


def load(path: str | None) -> dict[Key, dict[str, Any]]:
    """Runs of an earlier call that were made with today's options."""
    if path is None or not Path(path).exists():
        return {}
    done: dict[Key, dict[str, Any]] = {}
    for figures in json.loads(Path(path).read_text())["runs"]:
        stream, setting, seed = (figures.pop(name) for name in NAMES)
        if figures["options"] == options((stream, setting, seed)):
            done[stream, setting, seed] = figures
    return done


def save(done: dict[Key, dict[str, Any]], path: str | None) -> None:
    runs = [{**dict(zip(NAMES, key)), **figures} for key, figures in done.items()]
    write("miro", rows_of(done), path, runs=runs)


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--streams", nargs="+", default=list(STREAMS), choices=list(STREAMS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--no-more", action="store_true", help="start no run: the table of the finished ones")
    parser.add_argument("--markdown", metavar="FILE", help="write the page for the documentation")
    o = parser.parse_args()
    if o.quick:
        o.streams, o.seeds = ["split-mnist5k"], 1
    done = load(o.json)
    for seed in range(0 if o.no_more else o.seeds):
        for key in [(stream, setting, seed) for stream in o.streams for setting in SETTINGS]:
            if key not in done:
                done[key] = one(key)
                print(*key, f"{done[key]['accuracy']:.3f} {done[key]['joules']:.1f} J", flush=True)
                save(done, o.json)
    rows = rows_of(done)
    save(done, o.json)
    table(rows)
    if o.markdown:
        markdown(rows, o.markdown)


if __name__ == "__main__":
    main()
