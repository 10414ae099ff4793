"""Train naively and with sparse replay, compare both runs on a page, take the better network away as ONNX."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from edgecl.report.compare_page import compare_page
from edgecl.report.groups import grouped
from edgecl.report.table import summary
from edgecl.run import run


def stream(file: Path) -> str:
    """An .npz of 4 classes of 12x12 pictures: 2 tasks, which share most of their picture."""
    rng = np.random.default_rng(7)
    patterns = rng.integers(60, 180, (12, 12)) + rng.normal(0, 12, (4, 12, 12))
    y = np.repeat(np.arange(4), 60)
    x = np.clip(patterns[y] + rng.normal(0, 12, (y.size, 12, 12)), 0, 255).astype(np.uint8)
    np.savez(file, x=x, y=y)
    return str(file)


def main() -> None:
    usual = {"stream": stream(Path("pictures.npz")), "network": "mlp", "batch": 16, "epochs": 4, "seed": 0}
    naive = run({**usual, "method": "naive", "out": "naive"})
    sparse = run({**usual, "method": "der++", "memory": 60, "sparsity": 0.8, "store": "store", "out": "sparse"})
    Path("compared.html").write_text(compare_page(grouped([("naive", naive), ("sparse", sparse)])))
    subprocess.run([sys.executable, "-P", "-m", "edgecl", "export", "sparse", "--onnx", "learned.onnx"], check=True)
    one, other = (summary(record)["average_accuracy"] for record in (naive, sparse))
    print(f"average accuracy: naive {one:.2f}, sparse {other:.2f}")


if __name__ == "__main__":
    main()
