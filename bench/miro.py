"""Miro against fixed sizes of memory and stream buffer: accuracy and modelled joules, trials included.

Every fixed setting of Miro's own grid (planned memory and task, each at 100, 50 and 25 %) trains the whole stream;
best and worst are those of most and least accuracy per joule among them, and the most accurate is shown beside.

    python bench/miro.py --json FILE [--seeds 3]
"""

from __future__ import annotations

import tempfile
from statistics import mean
from typing import Any

from common import arguments, table, write

from edgecl.budget.miro import SHARES, Resources, Score, Setting
from edgecl.learning.miro import Miro
from edgecl.learning.prepare import prepare
from edgecl.run import Run

OPTIONS: dict[str, Any] = {
    "stream": "split-mnist5k",
    "model": "mlp",
    "method": "er",
    "sparsity": 0.9,
    "mask": "static",
    "batch": 16,
    "epochs": 10,
    "lr": 0.1,
    "memory": 200,
    "memory_policy": "balanced",
    "gate": "all",
    "device": "rpi_4b",
    "threads": 1,
}


class Fixed(Miro):
    """One setting for every task, without trials: the same shares of memory and task that Miro chooses from."""

    shares = (1.0, 1.0)

    def _profile(self, task, found, train, units, old):  # type: ignore[no-untyped-def]
        memory, buffer = (round(s * n) for s, n in zip(self.shares, (self.plan.config.memory, len(train))))
        setting = Setting(max(memory, len(old)), max(buffer, 1))
        self.resources = Resources(setting.memory)
        return [Score(setting, 0.0, 1.0)]


def one(seed: int, shares: tuple[float, float] | None) -> dict[str, Any]:
    """shares : of a fixed setting, or None for Miro."""
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare({**OPTIONS, "seed": seed, "store": f"{folder}/store", "miro": 2})
        with Run(prepared, "bench") as job:
            if shares is not None:
                job.miro = Fixed(job.trainer, prepared.plan, 1)
                job.miro.shares = shares
            record = job.execute()
            said = [text for _, _, text in job.trainer.log if text.startswith("miro")]
            trials = job.miro.trial_steps if job.miro is not None else 0
    return {
        "accuracy": record["metrics"]["average_accuracy"],
        "joules": record["device"]["energy_joules"]["value"],
        "source": record["device"]["energy_joules"]["source"],
        "steps": record["steps"],
        "trial_steps": trials,
        "choices": said if shares is None else [],
    }


def row(name: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    accuracy, joules = mean(r["accuracy"] for r in runs), mean(r["joules"] for r in runs)
    return {
        "setting": name,
        "n": len(runs),
        "accuracy": 100 * accuracy,
        "joules": joules,
        "accuracy_per_joule": 100 * accuracy / joules,
        "trial_share_of_joules": mean(r["trial_steps"] / (r["steps"] + r["trial_steps"]) for r in runs),
    }


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    o = parser.parse_args()
    seeds = range(1 if o.quick else o.seeds)
    runs: dict[str, list[dict[str, Any]]] = {"miro": [one(s, None) for s in seeds]}
    grid = [(m, b) for m in SHARES for b in SHARES]
    for m, b in grid:
        runs[f"memory {m:.0%}, buffer {b:.0%}"] = [one(s, (m, b)) for s in seeds]
    rows = [row(name, found) for name, found in runs.items()]
    fixed = sorted(rows[1:], key=lambda r: r["accuracy_per_joule"])
    marks = {"best per joule": fixed[-1], "worst per joule": fixed[0]}
    marks["most accurate"] = max(fixed, key=lambda r: r["accuracy"])
    marks["least accurate"] = min(fixed, key=lambda r: r["accuracy"])
    for r in rows:
        r["mark"] = ", ".join(k for k, v in marks.items() if v is r)
    table(rows)
    write("miro", rows, o.json, runs=runs, options=OPTIONS)


if __name__ == "__main__":
    main()
