"""Three rows of the ledger at one seed, short and on made-up pictures: their weights are those that are pinned, bit by
bit, so that no rewrite changes a method unnoticed.

Bits depend on the kernels' and numpy's instruction sets; for a kind of processor that nobody pinned yet, write them:
python tests/bench/test_canary.py
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from edgecl import _kernels, checkpoint
from edgecl.run import run

HERE = Path(__file__).parent
PINS = HERE / "canary.json"
IDS = ("er", "der++", "er-ace")
ROW = "{}/fashion20k-peers/cnn221/m500/e5"


def processor() -> str:
    """What the bits depend on."""
    features = np._core._multiarray_umath.__cpu_features__  # type: ignore[attr-defined]
    widest = next((f for f in ("AVX512_SKX", "AVX512F", "AVX2", "NEON") if features.get(f)), "plain")
    return f"{_kernels.isa()}, numpy {'.'.join(np.__version__.split('.')[:2])} with {widest}"


def weights_of(method: str, folder: Path) -> str:
    """SHA-256 of the weights after two tasks with the options of the method's row."""
    sys.path.insert(0, str(HERE.parents[1] / "bench"))
    try:
        from ledger_plan import ROWS
    finally:
        sys.path.pop(0)
    row = next(r for r in ROWS if r.id == ROW.format(method))
    rng = np.random.default_rng(3)
    y = np.repeat(np.arange(4), 40)
    x = np.clip(rng.integers(40, 200, (4, 28, 28))[y] + rng.normal(0, 20, (y.size, 28, 28)), 0, 255)
    np.savez(folder / "grey.npz", x=x.astype(np.uint8), y=y)
    run({**row.options, "stream": str(folder / "grey.npz"), "epochs": 2, "seed": 0, "out": str(folder / method)})
    saved = checkpoint.load(folder / method)
    assert saved is not None
    engine = saved["trainer"]["engine"]
    digest = hashlib.sha256()
    for name in sorted(k for k in engine if k.endswith("/values")):
        digest.update(name.encode() + engine[name].tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("method", IDS)
def test_weights_of_a_ledger_row_are_those_pinned(method, tmp_path):
    pins = json.loads(PINS.read_text())
    found = weights_of(method, tmp_path)
    if processor() not in pins:
        pytest.skip(f"nothing pinned for {processor()}")
    assert found == pins[processor()][method]


def main() -> None:
    pins = json.loads(PINS.read_text()) if PINS.is_file() else {}
    with tempfile.TemporaryDirectory() as folder:
        pins[processor()] = {method: weights_of(method, Path(folder)) for method in IDS}
    PINS.write_text(json.dumps(pins, indent=1) + "\n")


if __name__ == "__main__":
    main()
