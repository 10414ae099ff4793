"""Peak resident memory of sparse training against dense torch: a process a case, read from outside.

`bare`: numpy, our engine and a plan from files, nothing else; it trains a few steps and, where noted, evaluates
or keeps activations in bfloat16 between the passes (see saved_activations.py for what that costs).
`run`: a whole `edgecl run` with an episodic memory and a store. `import`: what loading the package costs.
`planned_bytes` is what the plan said before anything was allocated:
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

NETS = [("resnet20", 8), ("resnet20", 32), ("resnet18", 8), ("resnet18", 32), ("cnn", 16)]
RUN_NETS = [("resnet20", 8), ("resnet20", 32), ("resnet18", 8), ("cnn", 16)]
DENSITIES = [0.1, 0.25, 1.0]
STEPS = 12  # of a task in the whole run: the sparse schedule needs ten
NOTES = {"bare": ("", "evaluates too", "bfloat16 activations"), "run": ("", "bfloat16 activations")}
KEY = ("net", "batch", "density", "scope", "note")

# Makes the model and its plan and leaves them in files, as a workstation would for a device.
PREPARE = """
import json, sys
import numpy as np
from ours import Step
net, rows, density = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
step = Step(net, rows, density, activations=sys.argv[4])
json.dump(step.engine.plan.to_json(), open("plan.json", "w"))
state = {name: a for name, a in step.model.state().items() if "/moment/" not in name}
json.dump(list(state), open("names.json", "w"))
for i, a in enumerate(state.values()):
    np.save(f"{i}.npy", a)
next(iter(step.feeds.values())).tofile("x.bin")
"""

# The bare program: numpy, the engine and a plan. Trains; with "predict" it evaluates too, in an arena of its own.
BARE = """
import json, os, sys
import numpy as np
from edgecl.compiler import Plan
from edgecl.engine import Model
from edgecl.engine.native import NativeEngine

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

baseline = resident()
plan = Plan.from_json(json.load(open("plan.json")))
graph, rows = plan.graph, plan.batch
model = Model.from_state(graph, {name: np.load(f"{i}.npy") for i, name in enumerate(json.load(open("names.json")))})
engine = NativeEngine(model, plan)
x = np.fromfile("x.bin", np.float32).reshape(rows, *graph.input_shape)
y = np.arange(rows) % graph.classes
predict = engine.predictor(rows) if sys.argv[1] == "predict" else None
for _ in range(3):
    z = engine.forward({graph.input: x})["logits"]
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[np.arange(rows), y] -= 1
    engine.backward({"logits": p / rows})
    engine.step(0.05)
    if predict is not None:
        predict(x)
planned = plan.bytes - (0 if predict is not None else plan.memory["predict_arena"])
arrays = [a for p in model.parameters.values() for a in (p.values, p.pattern, *p.moments.values()) if a is not None]
held = sum(a.nbytes for a in arrays) + engine.gradients.flat.nbytes + engine._network.kernel_bytes()
living = sum(p.living for p in model.parameters.values())
print(json.dumps({"baseline": baseline, "planned": baseline + planned, "bytes_per_weight": held / living}))
"""

# Instead of the plain baseline: code is resident before and free heap given back, as in a run.
SETTLED = """
from edgecl.budget.meters import settled
from edgecl.engine.warm import warm
warm()
baseline = settled()
"""

IMPORT = """
import sys, time
start = time.perf_counter()
exec(sys.argv[1])
print(time.perf_counter() - start)
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


def bare(net: str, batch: int, density: float, mode: str, activations: str) -> dict[str, Any]:
    here = str(Path(__file__).resolve().parent)
    with tempfile.TemporaryDirectory() as folder:
        prepare = f"import sys; sys.path.insert(0, {here!r})\n{PREPARE}"
        command = [sys.executable, "-c", prepare, net, str(batch), str(density), activations]
        subprocess.run(command, cwd=folder, check=True)
        peak, printed = peak_of([sys.executable, "-c", BARE, mode], folder)
    return {"peak": peak, **json.loads(printed)}


def imports(statement: str, times: int = 7) -> tuple[int, float]:
    """(peak resident bytes, seconds) of a fresh process that runs ``statement``: the best of ``times``."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(times):
            peak, printed = peak_of([sys.executable, "-c", IMPORT, statement], folder)
            found.append((peak, float(printed)))
    return min(p for p, _ in found), min(s for _, s in found)


def whole_run(net: str, batch: int, density: float, activations: str) -> dict[str, int]:
    """`edgecl run` at this batch; replay doubles the rows of a forward."""
    options = {
        "stream": "split-fashion",
        "limit-train": 5 * STEPS * batch + 5 * batch,
        "network": net,
        "method": "er",
        "batch": batch,
        "epochs": 1,
        "sparsity": 1 - density,
        "activations": activations,
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


def import_rows() -> list[dict[str, Any]]:
    rows = []
    for statement in ("import edgecl", "from edgecl import Learner", "import numpy"):
        peak, seconds = imports(statement)
        rows.append({"net": statement, "scope": "import", "peak_rss_bytes": peak, "import_ms": seconds * 1e3})
    return rows


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--no-torch", action="store_true", help="leave the peer out")
    parser.add_argument("--scopes", nargs="+", default=["import", "bare", "run"], choices=["import", "bare", "run"])
    parser.add_argument("--nets", nargs="+", metavar="NET:BATCH", help="default: all")
    parser.add_argument("--densities", nargs="+", type=float, default=DENSITIES)
    o = parser.parse_args()
    given = None if o.nets is None else [(n.split(":")[0], int(n.split(":")[1])) for n in o.nets]
    nets = [("resnet20", 8)] if o.quick else given
    densities = [0.1] if o.quick else o.densities
    rows: list[dict[str, Any]] = import_rows() if "import" in o.scopes else []
    if rows:
        write("memory", rows, o.json, (), KEY)
    for scope in o.scopes:
        for net, batch in {"import": [], "bare": nets or NETS, "run": nets or RUN_NETS}[scope]:
            forward_rows = batch if scope == "bare" else 2 * batch
            peer = None
            if not o.no_torch and net in ("resnet18", "resnet20"):
                peer = torch_peak(net, forward_rows)
            for density in densities:
                for note in NOTES[scope]:
                    activations = "bfloat16" if "bfloat16" in note else "float32"
                    if scope == "run":
                        found = whole_run(net, batch, density, activations)
                    else:
                        found = bare(net, batch, density, "predict" if "evaluates" in note else "train", activations)
                    growth, planned = found["peak"] - found["baseline"], found["planned"] - found["baseline"]
                    rows.append(
                        {
                            "net": net,
                            "batch": batch,
                            "density": density,
                            "scope": scope,
                            "note": note,
                            "forward_rows": forward_rows,
                            "peak_rss_bytes": found["peak"],
                            "baseline_bytes": found["baseline"],
                            "planned_bytes": found["planned"],
                            "torch_peak_rss_bytes": peer,
                            "plan_error": planned / growth - 1,
                            "bytes_per_weight": found.get("bytes_per_weight"),
                        }
                    )
                    table(rows[-1:])
                    write("memory", rows[-1:], o.json, () if o.no_torch else ("torch",), KEY)
    table(rows, ("net", "batch", "density", "scope", "note", "peak_rss_bytes", "torch_peak_rss_bytes", "import_ms"))


if __name__ == "__main__":
    main()
