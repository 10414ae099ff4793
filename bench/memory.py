"""Peak resident memory of sparse training against dense torch: a process a case, read from outside.

`bare`: numpy, our engine and nothing else; `run`: a whole `edgecl run` with an episodic memory and a store.
Both train a few steps and evaluate. `planned_bytes` is what the plan said before anything was allocated:
baseline and growth (bare: the engine's arrays alone, without the slack that a run's plan counts). The torch
peer trains the same network, dense, on the same number of rows, float32 (see `torch_nets.py`).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import arguments, table, write

NETS = [("resnet20", 8), ("resnet20", 32), ("resnet18", 8), ("cnn", 16)]
DENSITIES = [0.1, 0.25, 1.0]
STEPS = 12  # of a task in the whole run: the sparse schedule needs ten

BARE = """
import json, sys
import numpy as np
from edgecl.compiler import Optimizer, compile_plan
from edgecl.engine import Model
from edgecl.engine.native import NativeEngine
from edgecl.graph.builders import build
from edgecl.methods.losses import cross_entropy
from edgecl.sparsity import make_sparse_training
from edgecl.budget.meters import resident

net, rows, density = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
rng = np.random.default_rng(0)
shape = (1, 28, 28) if net == "cnn" else (3, 32, 32)
baseline = resident()
graph = build(net, shape, 10, input_dtype="float32")
sparse = make_sparse_training(graph, sparsity=1 - density, mask="static" if density < 1 else "none")
optimizer = Optimizer(momentum=0.9, weight_decay=1e-4)
densities = sparse.max_densities()
plan = compile_plan(graph, batch=rows, predict_batch=rows, densities=densities, optimizer=optimizer)
engine = NativeEngine(Model(graph, rng, sparse.prune), plan)
x = rng.normal(size=(rows, *shape)).astype(np.float32)
y = rng.integers(0, 10, rows)
predict = engine.predictor(rows)
for _ in range(3):
    logits = engine.forward({graph.input: x})["logits"]
    engine.backward({"logits": cross_entropy(logits, y)[1]})
    engine.step(0.05)
    predict(x)
print(json.dumps({"baseline": baseline, "planned": baseline + plan.bytes}))
"""

TORCH = """
import sys
import torch
sys.path.insert(0, sys.argv[3])
from torch_nets import Step
torch.set_num_threads(1)
step = Step(sys.argv[1], int(sys.argv[2]), False)
for _ in range(3):
    step()
"""


def peak_of(command: list[str], folder: str) -> tuple[int, str]:
    """(highest VmHWM in bytes that a watcher saw of the process, what it printed)."""
    with open(f"{folder}/out", "w+") as out:
        child = subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE, text=True, cwd=folder)
        peak = 0
        while child.poll() is None:
            peak = max(peak, high_water_mark(child.pid))
            time.sleep(0.005)
        assert child.stderr is not None
        errors = child.stderr.read()
        if child.returncode != 0:
            raise SystemExit(errors)
        out.seek(0)
        return peak, out.read()


def high_water_mark(pid: int) -> int:
    """VmHWM in bytes; 0 when the process is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def bare(net: str, batch: int, density: float) -> dict[str, int]:
    with tempfile.TemporaryDirectory() as folder:
        peak, printed = peak_of([sys.executable, "-c", BARE, net, str(batch), str(density)], folder)
    found = json.loads(printed)
    return {"peak": peak, **found}


def whole_run(net: str, batch: int, density: float) -> dict[str, int]:
    """`edgecl run` at this batch; replay doubles the rows of a forward."""
    options = {
        "stream": "split-fashion",
        "limit-train": 5 * STEPS * batch + 5 * batch,
        "model": net,
        "method": "er",
        "batch": batch,
        "epochs": 1,
        "sparsity": 1 - density,
        "memory": 200,
        "store": "store",
    }
    command = [sys.executable, "-m", "edgecl", "run", "--json"]
    for name, value in options.items():
        command += [f"--{name}", f"{value:g}" if isinstance(value, float) else str(value)]
    with tempfile.TemporaryDirectory() as folder:
        peak, printed = peak_of(command, folder)
    memory = json.loads(printed)["memory"]
    return {"peak": peak, "baseline": memory["baseline_bytes"], "planned": memory["planned_peak_rss_bytes"]}


def torch_peak(net: str, batch: int) -> int:
    here = str(Path(__file__).resolve().parent)
    with tempfile.TemporaryDirectory() as folder:
        return peak_of([sys.executable, "-c", TORCH, net, str(batch), here], folder)[0]


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--no-torch", action="store_true", help="leave the peer out")
    o = parser.parse_args()
    nets = [("resnet20", 8)] if o.quick else NETS
    densities = [0.1] if o.quick else DENSITIES
    rows: list[dict[str, Any]] = []
    for net, batch in nets:
        peers: dict[int, int | None] = {}
        for scope, measure, forward_rows in (("bare", bare, batch), ("run", whole_run, 2 * batch)):
            if not o.no_torch and net in ("resnet18", "resnet20"):
                peers[forward_rows] = torch_peak(net, forward_rows)
            for density in densities:
                found = measure(net, batch, density)
                growth, planned = found["peak"] - found["baseline"], found["planned"] - found["baseline"]
                rows.append(
                    {
                        "net": net,
                        "batch": batch,
                        "density": density,
                        "scope": scope,
                        "forward_rows": forward_rows,
                        "peak_rss_bytes": found["peak"],
                        "baseline_bytes": found["baseline"],
                        "planned_bytes": found["planned"],
                        "torch_peak_rss_bytes": peers.get(forward_rows),
                        "plan_error": planned / growth - 1,
                    }
                )
                table(rows[-1:])
    table(rows)
    write("memory", rows, o.json, () if o.no_torch else ("torch",))


if __name__ == "__main__":
    main()
