"""The RAM plan of teaching a backbone: what it says beside what the process took, at two cuts and two sizes.

Each row is a run of its own, `edgecl run --backbone efficientnet_lite0`, on 40 made-up pictures, which records the
growth it planned and the growth of VmHWM that it measured. Needs the weights (`edgecl models get efficientnet_lite0`).

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

from edgecl.child import python_command

CASES = (("pooled", 96, "tail"), ("block11", 96, "cnn"), ("pooled", 224, "tail"), ("block5", 224, "cnn"))
PICTURES = 40
SHARE, SLACK = 0.05, 1_000_000


def measured(cut: str, size: int, network: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        x = np.random.default_rng(0).integers(0, 256, (PICTURES, 3, size, size), dtype=np.uint8)
        np.savez(f"{folder}/pictures.npz", x=x, y=np.arange(PICTURES) % 4)
        options = {
            "stream": f"{folder}/pictures.npz", "epochs": 1, "method": "er", "memory": 16, "batch": 8,
            "backbone": "efficientnet_lite0", "cut": cut, "network": network, "executor": "native",
            "out": f"{folder}/out",
        }  # fmt: skip
        words = [f"--{name}={value}" for name, value in options.items()]
        for _ in range(2):  # the first one converts the pictures
            subprocess.run(
                python_command("edgecl.__main__", "run", *words), check=True, capture_output=True, cwd=folder
            )
        record = json.loads((Path(folder) / "out" / "run.json").read_text())
    memory, growth = record["memory"], record["plan"]["growth_bytes"]
    planned, took = (memory[f"{k}_peak_rss_bytes"] - memory["baseline_bytes"] for k in ("planned", "measured"))
    return {
        "cut": cut, "size": size, "network": network, "weights_bytes": growth["front_weights"],
        "activations_bytes": growth["front_activations"], "planned_bytes": planned, "measured_bytes": took,
        "within": abs(planned - took) <= SHARE * took + SLACK,
    }  # fmt: skip


def main() -> int:
    options = arguments(__doc__ or "").parse_args()
    rows = [measured(*case) for case in CASES]
    table(rows)
    write("backbone_memory", rows, options.json, key=("cut", "size"))
    return 0 if all(row["within"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
