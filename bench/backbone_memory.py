"""The RAM plan of teaching a backbone: what it says beside what the process took, four backbones at two cuts each.

Each row is a run of its own, `edgecl run --backbone FILE`, on 40 made-up pictures, which records the growth it planned
and the growth of VmHWM that it measured. Networks in the box with random weights, latents in float16.

    python bench/backbone_memory.py --json FILE
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common import arguments, table, write
from ours import random_network

from edgecl.child import python_command
from edgecl.graph.builders import build

# (backbone, cut, pixels, network behind it)
CASES = (
    ("efficientnet_lite0", "pooled", 96, "tail"),
    ("efficientnet_lite0", "s5b3_sum", 96, "cnn"),
    ("efficientnet_lite0", "pooled", 224, "tail"),
    ("efficientnet_lite0", "s3b2_sum", 224, "cnn"),
    ("mobilenetv3_small", "features", 96, "tail"),
    ("mobilenetv3_small", "b8_sum", 96, "tail"),
    ("mobilenetv4_conv_small", "features", 96, "tail"),
    ("mobilenetv4_conv_small", "b6_sum", 96, "tail"),
    ("resnet18", "pooled", 96, "tail"),
    ("resnet18", "s4b1_out", 96, "tail"),
)
PICTURES = 40
SHARE, SLACK = 0.05, 1_000_000


def measured(backbone: str, cut: str, size: int, network: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        file = random_network(build(backbone, (3, size, size), 1000)).save(f"{folder}/{backbone}.edgecl")
        x = np.random.default_rng(0).integers(0, 256, (PICTURES, 3, size, size), dtype=np.uint8)
        np.savez(f"{folder}/pictures.npz", x=x, y=np.arange(PICTURES) % 4)
        options = {
            "stream": f"{folder}/pictures.npz", "epochs": 1, "method": "er", "memory": 16, "batch": 8,
            "backbone": file, "cut": cut, "latent": "float16", "network": network, "executor": "native",
            "out": f"{folder}/out",
        }  # fmt: skip
        words = [f"--{name}={value}" for name, value in options.items()]
        for _ in range(2):  # the first one converts the pictures
            done = subprocess.run(
                python_command("edgecl.__main__", "run", *words), capture_output=True, text=True, cwd=folder
            )
            if done.returncode:
                raise SystemExit(done.stderr[-600:])
        record = json.loads((Path(folder) / "out" / "run.json").read_text())
    memory, growth = record["memory"], record["plan"]["growth_bytes"]
    planned, took = (memory[f"{k}_peak_rss_bytes"] - memory["baseline_bytes"] for k in ("planned", "measured"))
    return {
        "backbone": backbone, "cut": cut, "size": size, "network": network, "weights_bytes": growth["front_weights"],
        "activations_bytes": growth["front_activations"], "planned_bytes": planned, "measured_bytes": took,
        "within": abs(planned - took) <= SHARE * took + SLACK,
    }  # fmt: skip


def main() -> int:
    parser = arguments((__doc__ or "").splitlines()[0])
    parser.add_argument("--backbones", nargs="+", help="of these only")
    options = parser.parse_args()
    rows = [measured(*case) for case in CASES if not options.backbones or case[0] in options.backbones]
    table(rows)
    write("backbone_memory", rows, options.json, key=("backbone", "cut", "size"))
    return 0 if all(row["within"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
