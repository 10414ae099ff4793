"""Four roads from a person's data to a page, with no option beyond the path, against two measures on the same input.

Each road (photographs, csv, wav, npz) is `edgecl run --stream PATH` in an empty folder, which ends with a page; the
figures are read from the record inside that page. Beside it: naive sequential training by the same command with
`--method naive`, and joint logistic regression (numpy) on what the network is given. A road holds when it lies within 5
points of joint, and above naive by 20 points or by half of the way from naive to joint, whichever is less.

    python bench/roads.py --road csv --json bench/results/roads.json      # one road, minutes; results merge
    python bench/roads.py --list                                          # what would be run, and what is there
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import arguments, write
from road_data import ROADS, made

from edgecl.config import Config
from edgecl.data import configured_stream
from edgecl.data.cache import cache_folder
from edgecl.report.page import record_in

NEAR, FAR, SHARE = 0.05, 0.20, 0.5  # of joint below; of naive above, or this share of the way between


def logistic(path: Path) -> float:
    """Mean over tasks of the test accuracy of softmax regression on all training samples at once."""
    stream = configured_stream(Config.make({"stream": str(path)}))
    tasks = stream.tasks
    x = np.concatenate([read(t.train) for t in tasks])
    y = np.concatenate([np.asarray(t.train.labels) for t in tasks])
    mean, std = x.mean(0), x.std(0) + 1e-3 * float(x.std())
    rng = np.random.default_rng(0)
    order = rng.permutation(len(x))
    held, kept = order[: len(x) // 5], order[len(x) // 5 :]
    z = (x - mean) / std
    best = max((1e-4, 1e-3, 1e-2, 1e-1, 1.0), key=lambda l2: accuracy(fit(z[kept], y[kept], l2), z[held], y[held]))
    weights = fit(z, y, best)
    found = [accuracy(weights, (read(t.test) - mean) / std, np.asarray(t.test.labels)) for t in tasks]
    stream.close()
    return float(np.mean(found))


def read(source: Any) -> np.ndarray:
    """float32 [n, values] of a whole source."""
    parts = [source.read(np.arange(i, min(i + 256, len(source)))) for i in range(0, len(source), 256)]
    return np.concatenate(parts).reshape(len(source), -1).astype(np.float32)


def fit(x: np.ndarray, y: np.ndarray, l2: float, steps: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Weights [F, C] and biases [C] by full-batch Adam; ``l2``: penalty on the weights."""
    classes = int(y.max()) + 1
    w, b = np.zeros((x.shape[1], classes), np.float32), np.zeros(classes, np.float32)
    moments = [np.zeros_like(a) for a in (w, w, b, b)]
    target = np.eye(classes, dtype=np.float32)[y]
    for step in range(1, steps + 1):
        logits = x @ w + b
        p = np.exp(logits - logits.max(1, keepdims=True))
        error = (p / p.sum(1, keepdims=True) - target) / len(x)
        rate = 0.01 * min(1.0, 3 * (1 - step / (steps + 1)))
        of_w = x.T @ error + l2 * w / x.shape[1]
        for value, gradient, m, v in ((w, of_w, *moments[:2]), (b, error.sum(0), *moments[2:])):
            m += 0.1 * (gradient - m)
            v += 0.01 * (gradient**2 - v)
            value -= rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.99**step)) + 1e-8)
    return w, b


def accuracy(weights: tuple[np.ndarray, np.ndarray], x: np.ndarray, y: np.ndarray) -> float:
    return float(((x @ weights[0] + weights[1]).argmax(1) == y).mean())


def walked(path: Path, folder: Path, *options: str) -> tuple[dict[str, Any], float]:
    """(the record inside the page, seconds) of the command in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for page in folder.glob("*.html"):
        page.unlink()
    began = time.monotonic()
    command = [sys.executable, "-P", "-m", "edgecl", "run", "--stream", str(path), *options]
    subprocess.run(command, cwd=folder, check=True)
    (page,) = folder.glob("*.html")
    return record_in(page), time.monotonic() - began


def measured(road: str, folder: Path) -> dict[str, Any]:
    """One road's row."""
    path = made(road, folder)
    record, seconds = walked(path, folder / "runs" / road)
    naive, _ = walked(path, folder / "runs" / f"{road}-naive", "--method", "naive")
    joint = logistic(path)
    ours, low = (r["metrics"]["average_accuracy"] for r in (record, naive))
    needed = min(FAR, SHARE * (joint - low))
    return {
        "road": road, "read": record["stream"]["about"].get("line"), "cut": record["stream"]["about"].get("cut"),
        "network": record["config"]["network"], "method": record["config"]["method"], "accuracy": ours, "naive": low,
        "joint_logistic": joint, "above_naive_needed": needed, "within_5_points_of_joint": ours >= joint - NEAR,
        "above_naive": ours - low >= needed, "seconds": seconds,
    }  # fmt: skip


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--road", choices=list(ROADS), action="append", help="only these; default: all")
    parser.add_argument("--list", action="store_true", help="what would be run; run nothing")
    parser.add_argument("--folder", metavar="DIR", help="data and runs; default: in the cache folder")
    given = parser.parse_args()
    folder = Path(given.folder) if given.folder else cache_folder() / "roads"
    roads = given.road or list(ROADS)
    there = json.loads(Path(given.json).read_text())["rows"] if given.json and Path(given.json).is_file() else []
    if given.list:
        for road in ROADS:
            print(f"{road}: {'measured' if any(r['road'] == road for r in there) else 'missing'}")
        return
    for road in roads:
        row = measured(road, folder)
        print(json.dumps(row, indent=1), flush=True)
        write("roads", [row], given.json, key=("road",))


if __name__ == "__main__":
    main()
