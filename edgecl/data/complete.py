"""The end of a conversion: groups become numbers, a test part is chosen, the gate has its say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import BadInput
from .cache import DatasetWriter
from .gate import Gate
from .naming import codes
from .options import Reading
from .split import choose_test

# what the options of `Reading` act on: a kind of samples, or a form of the data
ACTS_ON = {
    "size": ("pictures",), "background": ("pictures",), "window": ("series", "sounds"), "hop": ("series", "sounds"),
    "sample_rate": ("series",), "columns": ("table",), "axes": ("arrays",), "folders": ("folders",),
}  # fmt: skip


@dataclass
class Origins:
    """What a reader knows of every sample beside its values, in the samples' order; an empty list: not known.

    test : whether the data itself puts it into the test part
    """

    labels: list[str | int] = field(default_factory=list)
    test: list[bool] = field(default_factory=list)
    subjects: list[str | int] = field(default_factory=list)
    tasks: list[str | int] = field(default_factory=list)
    domains: list[str | int] = field(default_factory=list)
    files: list[str | int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)


def complete(writer: DatasetWriter, gate: Gate, origins: Origins, reading: Reading, source: str) -> None:
    """Settle the gate and write what goes beside the samples. Raises `Refused` and BadInput."""
    for name, forms in ACTS_ON.items():
        if getattr(reading, name) is not None and not gate.forms & {*forms}:
            gate.warn(f"--{name.replace('_', '-')} changes nothing here: it is for {' and '.join(forms)}.")
    gate.settle(origins.labels)
    labels, units = codes(origins.labels)
    if len(labels) < 2:
        raise gate.refuse(f"All samples have the label {labels}.", "Give at least two classes.", {})
    if len(labels) == len(units) and len(labels) > 2:
        raise gate.refuse(
            f"Each of the {len(units)} samples has a label of its own.", "Give the class of each sample as its label."
        )
    names: dict[str, list[str]] = {}
    groups: dict[str, np.ndarray] = {}
    for name in ("subjects", "tasks", "domains", "files"):
        if values := getattr(origins, name):
            groups[name], known = numbers(values)
            if known is not None:
                names[name] = known
    if origins.times:
        groups["times"] = np.array(origins.times, np.float64)
    if origins.test and reading.test_split is None:
        test, said = np.array(origins.test, bool), "tested on the data's own test part"
    else:
        test, said = choose_test(
            units, asked=reading.test_split, subjects=groups.get("subjects"), subject_names=names.get("subjects"),
            files=groups.get("files"), tasks=groups.get("tasks"),
        )  # fmt: skip
    _check_parts(gate, labels, units, test)
    writer.finish(
        tuple(labels), units, test, groups.pop("subjects", None), groups.pop("tasks", None), groups,
        source=source, names=names, split=said, gate=gate.facts(labels, units, writer.shape),
    )  # fmt: skip


def numbers(values: Sequence[str | int]) -> tuple[np.ndarray, list[str] | None]:
    """int32 [n] for names in natural order, with the names; whole numbers that fit stay themselves, without names."""
    if all(isinstance(v, (int, np.integer)) for v in values):
        array = np.array(values, np.int64)
        if array.size and np.abs(array).max() < 2**31:
            return array.astype(np.int32), None
    known, numbered = codes([str(v) for v in values])
    return numbered, known


def _check_parts(gate: Gate, labels: Sequence[Any], units: np.ndarray, test: np.ndarray) -> None:
    """Warn of classes that one part lacks; refuse a part without samples."""
    for part, chosen in (("training", ~test), ("test", test)):
        if not chosen.any():
            raise gate.refuse(f"There are no {part} samples.", "Give every class several samples.")
        present = set(units[chosen].tolist())
        if lacking := [str(label) for unit, label in enumerate(labels) if unit not in present]:
            shown = ", ".join(lacking[:10]) + (f" and {len(lacking) - 10} more" if len(lacking) > 10 else "")
            gate.warn(f"No {part} samples of {len(lacking)} of {len(labels)} classes: {shown}.")


def whole_labels(array: np.ndarray, name: str = "y") -> list[str | int]:
    """Labels of an array [n] or [n, 1] of whole numbers or text. BadInput with the cure for any other form."""
    what = f"The array '{name}' is {array.dtype} {array.shape}"
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2 and array.dtype.kind in "iufb" and ((array == 0) | (array == 1)).all():
        one = (array.sum(axis=1) == 1).all()
        if one:
            raise BadInput(f"{what}: one column a class.", f"Save {name}.argmax(axis=1).")
        raise BadInput(f"{what}: several classes a sample.", "Give every sample one class.")
    if array.ndim != 1 or not array.size:
        raise BadInput(f"{what}, expected one label a sample, [n].", "Give whole numbers or text, one a sample.")
    if array.dtype.kind in "iu":
        return array.tolist()
    if array.dtype.kind == "U":
        from .naming import spelled

        return [spelled(text) for text in array.tolist()]
    cure = {
        "b": f"Save {name}.astype(int).",
        "S": f"Save numpy.char.decode({name}, 'utf-8').",
        "M": "Give the class of each sample, not its time.",
        "f": "A label is a class, not a measure: save classes, such as numpy.digitize makes.",
    }.get(array.dtype.kind, "Give whole numbers or text, one a sample.")
    if array.dtype.kind == "f" and np.isfinite(array).all() and (array == np.round(array)).all():
        cure = f"They are whole numbers: save {name}.astype(int)."
    raise BadInput(f"{what}, expected integers or strings [n].", cure)
