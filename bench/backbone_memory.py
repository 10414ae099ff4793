"""The RAM plan of teaching a backbone: what it says beside what the process took, at two cuts and two sizes.

Each row is a run of its own, `edgecl run --backbone efficientnet_lite0`, which records the growth it planned and the
growth of VmHWM that it measured. Needs the weights (`edgecl models get efficientnet_lite0`) and the data.

    python bench/backbone_memory.py --json FILE
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import arguments, table, write

from edgecl.child import python_command

CASES = (("pooled", 96), ("block11", 96), ("pooled", 224), ("block5", 224))
SHARE, SLACK = 0.05, 1_000_000


def measured(cut: str, size: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        options = {
            "stream": "split-fashion", "limit-train": 60, "limit-tasks": 2, "epochs": 1, "method": "er", "memory": 100,
            "batch": 16, "backbone": "efficientnet_lite0", "backbone-size": size, "cut": cut, "executor": "native",
            "store": f"{folder}/store", "out": f"{folder}/out",
        }  # fmt: skip
        words = [f"--{name}={value}" for name, value in options.items()]
        subprocess.run(python_command("edgecl.__main__", "run", *words), check=True, stdout=subprocess.DEVNULL)
        memory = json.loads((Path(folder) / "out" / "run.json").read_text())["memory"]
    planned, took = (memory[f"{k}_peak_rss_bytes"] - memory["baseline_bytes"] for k in ("planned", "measured"))
    within = abs(planned - took) <= SHARE * took + SLACK
    return {"cut": cut, "size": size, "planned_bytes": planned, "measured_bytes": took, "within": within}


def main() -> int:
    options = arguments(__doc__ or "").parse_args()
    rows = [measured(cut, size) for cut, size in CASES]
    table(rows)
    write("backbone_memory", rows, options.json, key=("cut", "size"))
    return 0 if all(row["within"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
