"""An exported file in int8: quantised and judged in a child process, so that its peak is not ours."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .child import python_command
from .errors import BadInput, EdgeclError, require
from .graph.exporters.onnx import Verified

Array = np.ndarray
LARGEST_DROP = 0.02
MOST_CALIBRATION = 128  # samples
LEAST = 16


@dataclass(frozen=True)
class Drop:
    """Accuracies of an int8 file's parent and of itself on ``held`` samples that did not calibrate.

    calibrated : samples that did;  peak : bytes resident in the child process at most
    """

    float32: float
    int8: float
    held: int
    calibrated: int
    peak: int


def quantised(
    write: Callable[[Path], Verified], path: Path, x: Array, y: Array, allow_drop: bool
) -> tuple[Verified, Drop]:
    """The file that ``write`` writes, verified, then quantised to ``path``: QDQ, activations uint8, weights int8 per
    channel.

    x, y : samples and the outputs they belong to, classes in turn
    Raises `BadInput` for too few samples, `EdgeclError` where accuracy drops by more than 2 points.
    """
    require("onnxruntime", "onnx")
    if len(x) < LEAST:
        raise BadInput(f"{len(x)} samples are too few to calibrate int8.", f"Export with at least {LEAST} in memory.")
    use = _calibrating(y)
    with tempfile.TemporaryDirectory(prefix="edgecl-int8-") as folder:
        whole, made, data = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx", Path(folder) / "samples.npz"
        verified = write(whole)
        np.savez(data, calibrate=x[use], held=x[~use], units=y[~use])
        drop = _child(whole, made, data, int(use.sum()))
        if drop.float32 - drop.int8 > LARGEST_DROP and not allow_drop:
            raise EdgeclError(
                f"In int8 the accuracy on {drop.held} memory samples falls from {drop.float32:.3f} to {drop.int8:.3f}.",
                "Export float32, or --allow-drop.",
            )
        content = _with_note(made, drop)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        work = path.with_name(path.name + ".part")
        work.write_bytes(content)
        work.replace(path)
    except OSError as error:
        raise BadInput(f"'{path}' cannot be written: {error.strerror}.", "Choose another place.") from error
    return verified, drop


def _calibrating(y: Array) -> Array:
    """bool [n]: of each class the first half, of all at most `MOST_CALIBRATION`."""
    classes = np.unique(y)
    most = max(1, MOST_CALIBRATION // len(classes))
    use = np.zeros(len(y), bool)
    for unit in classes:
        mine = np.flatnonzero(y == unit)
        use[mine[: min(most, len(mine) // 2)]] = True
    if not use.any():
        use[: len(y) // 2] = True
    return use


def _child(whole: Path, made: Path, data: Path, calibrated: int) -> Drop:
    done = subprocess.run(
        python_command("edgecl.quantising", str(whole), str(made), str(data)), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"])[-1]
        raise EdgeclError(f"The file cannot be quantised: {last[:300]}", "Export float32.")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return Drop(found["float32"], found["int8"], found["held"], calibrated, found["peak"])


def _with_note(path: Path, drop: Drop) -> bytes:
    import onnx

    model = onnx.load(path)
    entry = model.metadata_props.add()
    entry.key, entry.value = "edgecl.int8", json.dumps(vars(drop))
    return bytes(model.SerializeToString())


def main() -> int:
    """Entry of the child: quantise the first file to the second with the samples in the third; print JSON."""
    import resource

    import onnxruntime
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    whole, made, path = sys.argv[1:4]
    with np.load(path) as data:
        calibrate, held, units = data["calibrate"], data["held"], data["units"]

    class Reader(CalibrationDataReader):
        """One sample at a time."""

        def __init__(self) -> None:
            self.rows = iter(calibrate)

        def get_next(self) -> dict[str, Array] | None:
            row = next(self.rows, None)
            return None if row is None else {"input": row[None]}

    # 7 bits of weights: products of 8 and 8 bits overflow the pairwise sums of x86 kernels without VNNI; it cost a
    # small convolutional net 26 points where they were tried
    quantize_static(
        whole, made, Reader(), quant_format=QuantFormat.QDQ, per_channel=True, activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8, calibrate_method=CalibrationMethod.MinMax, reduce_range=True,
    )  # fmt: skip
    right = {}
    for name, file in (("float32", whole), ("int8", made)):
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        found = [session.run(["logits"], {"input": held[i : i + 32]})[0] for i in range(0, len(held), 32)]
        right[name] = float((np.concatenate(found).argmax(1) == units).mean())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({**right, "held": len(held), "peak": peak}))
    return 0
