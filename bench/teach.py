"""Teaching a pretrained backbone: Fashion-MNIST, two classes a task, on latents of EfficientNet-Lite0 at 96 pixels.

500 training and 200 test pictures of each class, two epochs a task, batches of 32 with 32 replayed, SGD 0.03 with
momentum 0.9, reservoir memory. Class-IL accuracy over all ten classes after the last task, beside the reference figures
that were measured in torch by the same protocol (one seed; replayed samples alone were quantised there, here all are).
Needs the weights: `edgecl models get efficientnet_lite0`; and the data: `edgecl data get split-fashion`.

The part ``class`` is another job: a new class from 20 pictures, processes in turns (see teach_class.py), beside torch.

    python bench/teach.py [--part fashion|class|both] [--seeds 0,1,2,3,4] [--executor auto] [--quick] [--json FILE]
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
from common import Neighbours, arguments, median, table, write
from memory import peak_of

import edgecl
from edgecl.data import load_stream
from edgecl.fronts import Backbone
from edgecl.fronts.calibrating import calibrated

TRAIN, TEST, SIZE = 500, 200, 96  # of each class; pixels
SGD = {"lr": 0.03, "momentum": 0.9, "batch": 32}
WITHIN = 0.03  # of the reference
LDA = {"method": "slda", "body": "frozen", "memory": 0}
# (cut, method, options, epochs, one task of all classes, reference by format or for all)
CASES: tuple[tuple[str, str, dict[str, Any], int, bool, dict[str, float] | float | None], ...] = (
    ("pooled", "er 200", {"method": "er", "memory": 200}, 2, False, 0.744),
    ("pooled", "er 500", {"method": "er", "memory": 500}, 2, False, 0.788),
    ("pooled", "der++ 200", {"method": "der++", "memory": 200, "lr": 0.003}, 2, False, None),
    ("pooled", "slda", LDA, 1, False, 0.873),
    ("pooled", "ncm", {"method": "ncm", "body": "frozen", "memory": 0}, 1, False, 0.766),
    ("pooled", "naive", {"method": "naive", "memory": 0}, 2, False, 0.199),
    ("pooled", "joint", {"method": "naive", "memory": 0}, 20, True, 0.865),
    ("block11", "er 200", {"method": "er", "memory": 200}, 2, False, {"float16": 0.806, "int8": 0.807}),
    ("block11", "er 500", {"method": "er", "memory": 500}, 2, False, 0.796),
    ("block11", "der++ 200", {"method": "der++", "memory": 200}, 2, False, None),
    ("block11", "naive", {"method": "naive", "memory": 0}, 2, False, 0.199),
)
FORMATS = {"pooled": ("uint8", "int8", "float16"), "block11": ("int8", "float16")}
CONTENDERS = (("ours", "native"), ("ours", "onnxruntime"), ("torch",))
Parts = list[tuple[np.ndarray, np.ndarray]]


def pictures(per_class: int, test: bool) -> Parts:
    """(pictures, labels) of each task: the first of every class."""
    stream, found = load_stream("split-fashion"), []
    for task in stream.tasks:
        source = task.test if test else task.train
        rows = np.concatenate([np.flatnonzero(source.labels == unit)[:per_class] for unit in np.unique(source.labels)])
        found.append((source.read(rows), source.labels[rows].copy()))
    stream.close()
    return found


def latents(front: Backbone, parts: Parts) -> tuple[Parts, float]:
    """Latents in place of pictures, and processor seconds of a picture."""
    began, count = time.process_time(), sum(len(y) for _, y in parts)
    found = [(np.concatenate([front(x[i : i + 32]) for i in range(0, len(x), 32)]), y) for x, y in parts]
    return found, (time.process_time() - began) / count


def taught(
    front: Backbone, options: dict[str, Any], epochs: int, joint: bool, seed: int, data: tuple[Parts, Parts]
) -> dict[str, Any]:
    """A learner behind the front, given the latents that its backbone would make: they are made once a format."""
    train, test = data
    network = "conv_tail" if len(front.shape) == 3 else front.tail(10)
    form = {"input_shape": front.shape, "dtype": front.dtype, "mean": front.mean, "std": front.std, "classes": 10}
    rng, began = np.random.default_rng(seed), time.monotonic()
    if joint:
        train = [tuple(np.concatenate(values) for values in zip(*train))]  # type: ignore[list-item]
    with edgecl.Learner(network, **form, **{**SGD, **options}, seed=seed, buffer=6000) as learner:
        for task, (x, y) in enumerate(train):
            order = rng.permutation(len(y))
            learner.observe(x[order], y[order].tolist(), task=task)
            learner.learn(epochs=epochs)
        learner.end_task()
        seconds = time.monotonic() - began
        right = [np.mean(np.array(learner.predict(x)) == y) for x, y in test]
    return {"accuracy": float(np.mean(right)), "seconds": seconds}


def reference(of: Any, latent: str) -> float | None:
    return of.get(latent) if isinstance(of, dict) else of


def calibrated_file(cut: str, tensor: str, parts: Parts, folder: Path) -> str:
    """The backbone with the range of a cut's latents over pictures of the first task."""
    from edgecl.backbones import network_of
    from edgecl.fronts.resizing import Resizing

    x = parts[0][0][:64]
    size = Resizing(SIZE, x.shape[1:], "uint8")
    network = network_of("efficientnet_lite0", (3, SIZE, SIZE), "uint8")
    return str(calibrated(network, tensor, np.stack([size(p) for p in x])).save(folder / f"{cut}.edgecl"))


def rows_of(front: Backbone, how: str, cut: str, data: tuple[Parts, Parts], asked: Namespace) -> list[dict[str, Any]]:
    (train, ms), (test, _) = (latents(front, parts) for parts in data)
    sample = int(np.prod(front.shape)) * np.dtype(front.dtype).itemsize
    latent, found = front.about()["options"]["latent"], []
    about = {"bytes_a_sample": sample, "prefix_ms": 1e3 * ms, "executor": front.about()["executor"]}
    for where, method, options, epochs, joint, wanted in CASES:
        if where != cut or not method.startswith(asked.methods):
            continue
        if asked.quick and method not in ("er 200", "slda", "naive"):
            continue
        for seed in [0] if asked.quick else map(int, asked.seeds.split(",")):
            got = taught(front, options, epochs, joint, seed, (train, test))
            expected = None if asked.quick else reference(wanted, latent)  # of fewer pictures there is none
            found.append({
                "who": "edgecl", "case": f"fashion {cut} {latent}{how}", "cut": cut, "latent": latent,
                "method": method, "seed": seed, **got, "reference": expected,
                "holds": None if expected is None else bool(got["accuracy"] >= expected - WITHIN), **about,
            })  # fmt: skip
            print({k: found[-1][k] for k in ("case", "method", "seed", "accuracy", "reference")}, flush=True)
    return found


def new_class(rounds: int) -> list[dict[str, Any]]:
    """Contenders in turns: processor seconds (medians) and the highest peak of a process, and both over torch's."""
    here = Path(__file__).parent
    took: dict[tuple[str, ...], list[dict[str, float]]] = {words: [] for words in CONTENDERS}
    with Neighbours() as others, tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for words, found in took.items():
                peak, printed = peak_of([sys.executable, "-P", str(here / "teach_class.py"), *words], folder)
                found.append({**json.loads(printed.splitlines()[-1]), "peak": peak})
    rows = []
    for words, found in took.items():
        middle = {k: median([f[k] for f in found]) for k in ("cpu_seconds", "seconds", "accuracy")}
        rows.append({
            "who": " ".join(words), "case": "a new class from 20 pictures, efficientnet_lite0 at 96", "method": "er",
            "seed": 0, **middle, "peak_rss_bytes": max(int(f["peak"]) for f in found), "n": rounds,
            "others_share": round(others.share, 3),
        })  # fmt: skip
    torch = rows[-1]
    for row in rows:
        row["torch_over_ours_cpu"] = torch["cpu_seconds"] / row["cpu_seconds"]
        row["rss_over_torch"] = row["peak_rss_bytes"] / torch["peak_rss_bytes"]
    return rows


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--part", choices=("fashion", "class", "both"), default="both")
    parser.add_argument("--executor", default="auto")
    parser.add_argument("--methods", default="", help="those only that begin with this")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    if options.part != "class":
        rows += fashion(options)
        shown = ("case", "method", "seed", "accuracy", "reference", "holds", "bytes_a_sample", "prefix_ms", "seconds")
        table(rows, shown)
    if options.part != "fashion":
        classes = new_class(1 if options.quick else 7)
        table(classes, ("who", "cpu_seconds", "torch_over_ours_cpu", "peak_rss_bytes", "rss_over_torch", "accuracy"))
        rows += classes
    write("teach", rows, options.json, ("onnxruntime", "torch"), ("who", "case", "method", "seed"))


def fashion(options: Namespace) -> list[dict[str, Any]]:
    """Every case of both cuts."""
    few = (60, 40) if options.quick else (TRAIN, TEST)
    data = pictures(few[0], False), pictures(few[1], True)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for cut, formats in FORMATS.items():
            for latent in formats[:1] if options.quick else formats:
                given = {"cut": cut, "latent": latent, "executor": options.executor, "size": SIZE}
                front = Backbone(model="efficientnet_lite0", **given).placed((1, 28, 28), "uint8")
                rows += rows_of(front, "", cut, data, options)
            if cut == "block11" and not options.quick:
                path = calibrated_file(cut, "s5b3_sum", data[0], Path(folder))
                front = Backbone(model=path, cut="s5b3_sum", latent="int8", executor=options.executor, size=SIZE)
                rows += rows_of(front.placed((1, 28, 28), "uint8"), " calibrated", cut, data, options)
    return rows


if __name__ == "__main__":
    main()
