"""The RAM plan of imported networks: what it says of training them, beside the peak of a process that does.

Each network of `foreign.py` is imported and planned by one process and trained by another that holds numpy, the engine
and the plan, dense and with a tenth of its weights living. Planned are the engine's bytes and what every plan of a run
counts for the allocator's slack; measured is the growth of VmHWM over what was resident before.

    python bench/imported_memory.py [--nets NAME:BATCH,..] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import write
from memory import BARE, SETTLED, peak_of

from edgecl.compiler import Plan
from edgecl.planning.memory import other_bytes

NETS = (
    ("patch_ts_transformer", 256), ("gru_cls", 256), ("unet_small", 64), ("shufflenet_v2_x0_5", 16), ("lstm_cls", 128),
    ("inceptiontime", 64), ("yamnet_like", 16), ("siamese_embed", 128),
)  # fmt: skip
SLACK, SHARE = 1_000_000, 0.05
PREPARE = """
import json, sys, warnings
import numpy as np
warnings.filterwarnings("ignore")
import torch
import edgecl
from foreign import build
from edgecl.compiler import Optimizer, compile_plan
from edgecl.engine.model import Model
name, rows, density = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
module, shape = build(name)
network = edgecl.from_torch(module, torch.zeros(1, *shape))
rng = np.random.default_rng(0)
model = Model(network.graph, rng)
for key, p in model.parameters.items():
    p.values[:] = network.weights[key].ravel()
    if p.spec.role == "weight" and density < 1:
        p.set_pattern(np.sort(rng.choice(p.spec.size, max(1, round(p.spec.size * density)), replace=False)))
plan = compile_plan(network.graph, batch=rows, densities=model.densities(), optimizer=Optimizer(momentum=0.9))
json.dump(plan.to_json(), open("plan.json", "w"))
state = model.state()
json.dump(list(state), open("names.json", "w"))
for i, a in enumerate(state.values()):
    np.save(f"{i}.npy", a)
rng.normal(size=(rows, *shape)).astype(np.float32).tofile("x.bin")
"""
# Code is resident before the baseline, as in a run; outputs may be maps: the gradient is that of half their mean square
CHANGES = {
    "baseline = resident()": SETTLED,
    "p = np.exp(z - z.max(1, keepdims=True))": "p = z / (z.size / rows)",
    "    p /= p.sum(1, keepdims=True)\n    p[np.arange(rows), y] -= 1\n": "",
}
TRAIN = BARE
for old, new in CHANGES.items():
    assert TRAIN.count(old) == 1
    TRAIN = TRAIN.replace(old, new)


def measured(name: str, rows: int, density: float) -> dict[str, Any]:
    here = str(Path(__file__).resolve().parent)
    with tempfile.TemporaryDirectory() as folder:
        prepare = f"import sys; sys.path.insert(0, {here!r})\n{PREPARE}"
        subprocess.run([sys.executable, "-P", "-c", prepare, name, str(rows), str(density)], cwd=folder, check=True)
        plan = Plan.from_json(json.loads((Path(folder) / "plan.json").read_text()))
        peak, printed = peak_of([sys.executable, "-P", "-c", TRAIN, "train"], folder)
    found = json.loads(printed)
    growth, planned = peak - found["baseline"], found["planned"] - found["baseline"]
    planned += other_bytes(plan.graph)
    off = planned - growth
    return {
        "net": name, "batch": rows, "density": density, "planned_bytes": planned, "measured_bytes": growth,
        "off_bytes": off, "within": abs(off) <= SHARE * growth + SLACK,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", default="")
    parser.add_argument("--json", metavar="FILE")
    a = parser.parse_args()
    nets = [(n.split(":")[0], int(n.split(":")[1])) for n in a.nets.split(",")] if a.nets else NETS
    rows: list[dict[str, Any]] = []
    for name, batch in nets:
        for density in (1.0, 0.1):
            rows.append(measured(name, batch, density))
            print(json.dumps(rows[-1]), flush=True)
    write("imported_memory", rows, a.json, ("onnxruntime",))


if __name__ == "__main__":
    main()
