"""int8 export of networks in the box that learned split-fashion: accuracy before and after.

Each is trained by `edgecl run` with a replay memory, then exported as a user does. Accuracy of the run is that over all
test samples after the last task; those of the file are on memory samples that did not calibrate.

    python bench/int8.py [--nets cnn,..] [--json FILE]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import arguments, table, write

OPTIONS = [
    "--stream", "split-fashion", "--method", "er", "--memory", "3000", "--limit-train", "10000", "--epochs", "3",
    "--batch", "16", "--lr", "0.1", "--lr-schedule", "cosine",
]  # fmt: skip
NETS = ("cnn",)


def edgecl(*words: str) -> str:
    done = subprocess.run([sys.executable, "-P", "-m", "edgecl", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


def exported(net: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        run, file = Path(folder) / "run", Path(folder) / "int8.onnx"
        edgecl("run", *OPTIONS, "--network", net, "--out", str(run))
        learned = json.loads((run / "run.json").read_text())["metrics"]["average_accuracy"]
        said = json.loads(edgecl("export", str(run), "--onnx", str(file), "--int8", "--json"))
        whole = json.loads(edgecl("export", str(run), "--onnx", str(file.with_name("whole.onnx")), "--json"))
    drop = said["drop"]
    return {
        "net": net, "options": " ".join(OPTIONS), "accuracy": learned, "float32": drop["float32"], "int8": drop["int8"],
        "points": 100 * (drop["float32"] - drop["int8"]), "held": drop["held"], "calibrated": drop["calibrated"],
        "bytes": said["bytes"], "float32_bytes": whole["bytes"], "child_peak_bytes": drop["peak"],
        "within": learned >= 0.8 and drop["float32"] - drop["int8"] <= 0.02,
    }  # fmt: skip


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--nets", default=",".join(NETS))
    options = parser.parse_args()
    rows = [exported(net) for net in options.nets.split(",")]
    table(rows, ("net", "accuracy", "float32", "int8", "points", "held", "bytes", "float32_bytes", "within"))
    write("int8", rows, options.json, packages=("onnx", "onnxruntime"), key=("net",))


if __name__ == "__main__":
    main()
