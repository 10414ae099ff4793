"""The picture of README: accuracy on everything seen so far, after each task of split-digits, for four ways to train.

`python bench/forgetting_curve.py --json bench/results/forgetting_curve.json --plot FILE.svg`
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

from common import arguments, write

from edgecl.run import run

USUAL = {"stream": "split-digits", "network": "cnn", "epochs": 10, "batch": 16, "threads": 1}
WAYS: dict[str, dict[str, Any]] = {  # in the order of the picture's legend
    "90 % sparse, 50 slots and the carousel": {"method": "er", "memory": 50, "sparsity": 0.9, "store": True},
    "dense, 50 slots and the carousel": {"method": "er", "memory": 50, "store": True},
    "dense, 50 slots": {"method": "er", "memory": 50},
    "dense, no replay": {"method": "naive"},
}


def measure(way: str, seed: int) -> dict[str, Any]:
    """One run: mean accuracy over the tasks seen, after each of them, and what it cost."""
    options = {**USUAL, **WAYS[way], "seed": seed}
    with TemporaryDirectory() as folder:
        if options.pop("store", False):
            options["store"] = f"{folder}/store"
        record = run({**options, "out": f"{folder}/run"})
    seen = [fmean(v for v in row[: i + 1] if v is not None) for i, row in enumerate(record["accuracy_matrix"])]
    return {"way": way, "seed": seed, "accuracy": [round(a, 4) for a in seen], "flops": record["flops"]}


def plot(rows: list[dict[str, Any]], file: str) -> None:
    """Means over the seeds, as an SVG that says the same bytes each time."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "edgecl", "font.size": 11})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7.5, 3.6), layout="constrained")
    for way in WAYS:
        runs = [r["accuracy"] for r in rows if r["way"] == way]
        means = [100 * fmean(column) for column in zip(*runs)]
        axes.plot(range(1, len(means) + 1), means, marker="o", label=way)
    axes.set(xlabel="tasks learned, one after another", ylabel="% right on all seen so far", ylim=(0, 102))
    axes.set_xticks(range(1, 6))
    axes.grid(alpha=0.3)
    axes.legend(loc="center right", bbox_to_anchor=(1, 0.62))
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="runs of each; 0: draw what is there")
    parser.add_argument("--plot", metavar="FILE", help="draw the rows of --json")
    o = parser.parse_args()
    seeds = min(o.seeds, 1) if o.quick else o.seeds
    rows = [measure(way, seed) for seed in range(seeds) for way in WAYS]
    for way in WAYS if rows else ():
        print(f"{way:42} {100 * fmean(r['accuracy'][-1] for r in rows if r['way'] == way):5.1f} %")
    if o.json and rows:
        write("forgetting_curve", rows, o.json, key=("way", "seed"))
    if o.plot:
        plot(json.loads(Path(o.json).read_text())["rows"] if o.json else rows, o.plot)


if __name__ == "__main__":
    main()
