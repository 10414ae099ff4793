"""The FLOP meter of a sparse run against two counts that share nothing with it: what was seen running, layer
by layer, and arithmetic from the schedules. The layer tables are written by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from edgecl.planning.run_plan import prepare
from edgecl.run import Run, run

SPARCL = {"method": "der++", "sparsity": 0.9, "gradient_keep": 0.8, "remove": 0.3, "sparsity_policy": "tdm"}
EPOCHS = 20


@dataclass(frozen=True)
class Layer:
    """weights : their number;  positions : output pixels;  sparse : masked;  first : no input gradient"""

    weights: int
    positions: int
    sparse: bool = True
    first: bool = False


def small_cnn(side: int, classes: int) -> dict[str, Layer]:
    """3x3 convolutions of 32, 64 and 128 channels on grey images, halved between them."""
    return {
        "conv1.weight": Layer(32 * 1 * 9, side * side, sparse=False, first=True),
        "conv2.weight": Layer(64 * 32 * 9, (side // 2) ** 2),
        "conv3.weight": Layer(128 * 64 * 9, (side // 4) ** 2),
        "logits.weight": Layer(classes * 128, 1, sparse=False),
    }


def resnet20(side: int, classes: int) -> dict[str, Layer]:
    """Grey images; ``side`` is that of the padded image."""
    one, two, three = side * side, (side // 2) ** 2, (side // 4) ** 2
    layers = {"stem.weight": Layer(16 * 1 * 9, one, sparse=False, first=True)}
    for block in (1, 2, 3):
        layers[f"s1b{block}_conv1.weight"] = layers[f"s1b{block}_conv2.weight"] = Layer(16 * 16 * 9, one)
        layers[f"s2b{block}_conv1.weight"] = Layer(32 * (16 if block == 1 else 32) * 9, two)
        layers[f"s2b{block}_conv2.weight"] = Layer(32 * 32 * 9, two)
        layers[f"s3b{block}_conv1.weight"] = Layer(64 * (32 if block == 1 else 64) * 9, three)
        layers[f"s3b{block}_conv2.weight"] = Layer(64 * 64 * 9, three)
    layers["s2b1_short.weight"] = Layer(32 * 16, two, sparse=False)
    layers["s3b1_short.weight"] = Layer(64 * 32, three, sparse=False)
    layers["logits.weight"] = Layer(classes * 64, 1, sparse=False)
    return layers


NETS = {"cnn": small_cnn, "resnet20": resnet20}


@pytest.fixture(scope="module")
def stream(tmp_path_factory) -> str:
    """Four classes of 8x8 images, 2 tasks. At a batch of 3 or less DGM refreshes within an epoch, too."""
    rng = np.random.default_rng(7)
    y = np.repeat(np.arange(4), 60)
    x = np.clip(rng.integers(60, 180, (4, 8, 8))[y] + rng.normal(0, 12, (y.size, 8, 8)), 0, 255)
    path = tmp_path_factory.mktemp("stream") / "tiny.npz"
    np.savez(path, x=x.astype(np.uint8), y=y)
    return str(path)


def watched_run(options: dict, layers: dict[str, Layer]) -> tuple[dict, int]:
    """(record, FLOPs): each training forward and backward is counted as it happens, from the batch and from
    what the model's parameters hold at that moment."""
    count = {"flops": 0, "batch": 0}
    with Run(prepare(options), "test") as job:
        engine = job.core.parts.engine
        forward, backward = engine.forward, engine.backward
        weights = {n for n in engine.model.parameters if n.endswith(".weight") and "norm" not in n}
        assert weights == set(layers)

        def counted_forward(feeds, *args, **kwargs):
            outs = forward(feeds, *args, **kwargs)
            count["batch"] = len(next(iter(feeds.values())))
            for name, layer in layers.items():
                count["flops"] += 2 * engine.model[name].values.size * layer.positions * count["batch"]
            return outs

        def counted_backward(seeds):
            for name, layer in layers.items():
                p = engine.model[name]
                trained = p.values.size if p.gradient_subset is None else p.gradient_subset.size
                macs = (trained + (0 if layer.first else p.values.size)) * layer.positions
                count["flops"] += 2 * macs * count["batch"]
            backward(seeds)

        engine.forward, engine.backward = counted_forward, counted_backward
        return job.execute(), count["flops"]


RUNS = {
    "cnn": {"network": "cnn", "batch": 3},
    "cnn, as printed": {"network": "cnn", "batch": 3, "sparse_schedule": "paper"},
    "cnn, micro-batch": {"network": "cnn", "batch": 8, "micro_batch": 5},
    "cnn, separate": {"network": "cnn", "batch": 8, "replay_forward": "separate"},
    "resnet20": {"network": "resnet20", "batch": 16},
}


@pytest.mark.parametrize("changes", RUNS.values(), ids=RUNS)
def test_executed_flops_of_a_sparse_run_equal_a_count_from_outside(stream, changes):
    options = {**SPARCL, "stream": stream, "epochs": 5, "memory": 20, "lr": 0.05, **changes}
    layers = NETS[changes["network"]](8, 4)
    record, counted = watched_run(options, layers)
    assert record["status"]["finished"]
    assert record["flops"]["full"]["executed"] == counted > 0


# -- the same from the schedules alone (released TDM, DGM and DDR at 20 epochs a task)


def rounded(hundredths: int, weights: int) -> int:
    """``hundredths`` / 100 of ``weights``, rounded half up, in whole numbers."""
    return (hundredths * weights + 50) // 100


def predicted(layers: dict[str, Layer], tasks: list[int], batch: int, slots: int, sparcl: bool) -> int:
    """FLOPs of a joint-forward DER++ run over tasks of so many samples, reservoir memory of ``slots``.

    90 % sparse, 0.01 denser in the first two of 20 epochs; a gradient for 8 % of the weights, for all living
    ones at every 30th step of an epoch; at the start of epochs 2, 4, 6 and 8 a quarter of 30 % of the samples
    goes.
    """

    def row(epoch: int, refresh: bool) -> int:
        flops = 0
        for layer in layers.values():
            living = trained = layer.weights
            if sparcl and layer.sparse:
                living = rounded(11 if epoch < 2 else 10, layer.weights)
                trained = living if refresh else rounded(8, layer.weights)
            flops += 2 * layer.positions * (living * (1 if layer.first else 2) + trained)
        return flops

    rows = {(e, r): row(e, r) for e in range(EPOCHS) for r in (False, True)}
    total = filled = 0
    for samples in tasks:
        for epoch in range(EPOCHS):
            stages = min(epoch // 2, 4) if sparcl else 0
            kept = samples - stages * (3 * samples // 40)
            for step, start in enumerate(range(0, kept, batch)):
                current = min(batch, kept - start)
                total += (current + min(batch, filled)) * rows[epoch, step % 30 == 0]
                filled = min(slots, filled + current)
    return total


@pytest.mark.parametrize(("model", "limit", "batch"), [("resnet20", 32, 8), ("cnn", 160, 2)])
def test_a_run_of_twenty_epochs_executes_what_the_schedules_say(stream, model, limit, batch):
    given = {**SPARCL, "stream": stream, "network": model, "memory": 20, "batch": batch, "limit_train": limit}
    record = run({**given, "epochs": EPOCHS, "lr": 0.01})
    full, tasks = record["flops"]["full"], [limit // 2] * 2
    assert record["status"]["finished"] and record["stream"]["train_samples"] == limit
    assert full["executed"] == predicted(NETS[model](8, 4), tasks, batch, 20, True)
    assert full["dense"] == predicted(NETS[model](8, 4), tasks, batch, 20, False)


@pytest.mark.parametrize(("samples", "batch"), [(12000, 32), (12000, 8), (800, 32)],
                         ids=["split-fashion", "split-fashion, batch 8", "split-mnist5k"])  # fmt: skip
def test_resnet20_at_90_percent_executes_at_most_a_tenth_of_dense(samples, batch):
    layers = resnet20(32, 10)
    sparse = predicted(layers, [samples] * 5, batch, 500, True)
    dense = predicted(layers, [samples] * 5, batch, 500, False)
    assert sparse <= 0.10 * dense
