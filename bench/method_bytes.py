"""Bytes that every built-in method takes beyond the start, planned against measured: a process of its own for each.

A network of 1.4 million weights, so that a second parameter set, a copy of the gradient or an array per weight shows;
made-up 28x28 pictures of six classes in three tasks. `planned` and `measured` are growth over the resident set before
the run; `off` is their difference as a share of the tolerance, 5 % of the plan and 1 MB.

    nice -n 10 python bench/method_bytes.py [METHOD ...] [--quick] [--json FILE]
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common import arguments, table, write

from edgecl.child import python_command
from edgecl.graph.builders import build
from edgecl.methods import methods
from edgecl.network import Network

MB = 1_000_000
SHORT: dict[str, dict[str, Any]] = {
    "gdumb": {"memory_epochs": 3}, "rainbow": {"memory_epochs": 2}, "k-fpf": {"steps": 6}, "lwf": {"warm_up": 1},
    "ridge": {"random_features": 256},
}  # fmt: skip


def record(options: dict[str, Any], folder: str) -> dict[str, Any]:
    """Of a run in a process of its own."""
    job = {"options": options, "resume": None, "json": True, "command": "bench/method_bytes.py"}
    command = python_command("edgecl.commands.train", json.dumps(job))
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    if done.returncode:
        raise SystemExit(f"error: {options['method']}: {done.stderr.strip()}")
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def prepared(place: Path) -> dict[str, Any]:
    """Files of data and network; the options that name them."""
    rng = np.random.default_rng(3)
    y = np.repeat(np.arange(6), 80)
    x = np.clip(rng.integers(40, 200, (6, 28, 28))[y] + rng.normal(0, 20, (y.size, 28, 28)), 0, 255)
    np.savez(place / "grey.npz", x=x.astype(np.uint8), y=y)
    Network(build("mlp", (1, 28, 28), 6, hidden=(1200, 360))).save(place / "net.edgecl")
    return {"stream": str(place / "grey.npz"), "network": str(place / "net.edgecl"), "epochs": 1, "memory": 100}


def main() -> None:
    parser = arguments(str(__doc__))
    parser.add_argument("methods", nargs="*", help="by default all")
    args = parser.parse_args()
    names = args.methods or (["er", "a-gem"] if args.quick else sorted(methods()))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        options = prepared(Path(folder))
        for name in names:
            memory = record({**options, "method": name, **SHORT.get(name, {})}, folder)["memory"]
            planned = memory["planned_peak_rss_bytes"] - memory["baseline_bytes"]
            measured = memory["measured_peak_rss_bytes"] - memory["baseline_bytes"]
            off = abs(measured - planned) / (0.05 * planned + MB)
            rows.append({
                "method": name, "planned": planned, "measured": measured, "off": round(off, 3), "within": off <= 1,
            })  # fmt: skip
            print(f"{name:12} planned {planned / MB:6.2f} MB, measured {measured / MB:6.2f} MB, {off:.2f}", flush=True)
            if args.json:
                write("method_bytes", rows[-1:], args.json, key=("method",))
    table(rows)


if __name__ == "__main__":
    main()
