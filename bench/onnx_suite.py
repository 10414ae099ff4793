"""ONNX's own test suite on our importer and native engine: how many cases pass, are refused by name, or fail.

Every case is imported, run and compared with its stored outputs at rtol 1e-3, atol 1e-5 (light models: 1e-3 of the
largest value). One floating input is the network's data, each in turn until one is possible; the others are bound as
constants, as integers are (shapes, axes, indices). A case whose inputs are all constants is folded by numpy. A batch is
looked for at axis 0, then nowhere (the whole input is one sample), then at axis 1 (sequences).

    python bench/onnx_suite.py [--json FILE] [--kinds node,light] [--only PATTERN] [--every N] [--list]
"""

from __future__ import annotations

import argparse
import glob
import os
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from common import write

KINDS = ("node", "pytorch-converted", "pytorch-operator", "light")
LIGHT = ("bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet", "vgg19",
         "zfnet512")  # fmt: skip
LARGEST = 3.4028234663852886e38
RANDOM = ("test_training_dropout",)  # their outputs hold a random mask


@dataclass
class Case:
    name: str
    model: Any
    inputs: list[Any]
    outputs: list[Any]


def cases(kind: str) -> Iterator[Case]:
    """Cases of one kind; those of files are read when their turn comes."""
    import onnx
    from onnx.backend.test.loader import load_model_tests

    if kind == "light":
        yield from light_cases()
        return
    for found in load_model_tests(kind=kind):
        if found.model is not None:
            inputs, outputs = found.data_sets[0]
            yield Case(found.name, found.model, list(inputs), list(outputs))
            continue
        folders = sorted(glob.glob(os.path.join(found.model_dir, "test_data_set_*")))
        model = onnx.load(os.path.join(found.model_dir, "model.onnx"))
        yield Case(found.name, model, read_tensors(folders[0], "input"), read_tensors(folders[0], "output"))


def read_tensors(folder: str, what: str) -> list[np.ndarray]:
    import onnx
    from onnx import numpy_helper

    found = []
    for path in sorted(glob.glob(os.path.join(folder, f"{what}_*.pb")), key=lambda p: int(p.split("_")[-1][:-3])):
        tensor = onnx.TensorProto()
        with open(path, "rb") as file:
            tensor.ParseFromString(file.read())
        found.append(numpy_helper.to_array(tensor))
    return found


def light_cases() -> Iterator[Case]:
    """The nine light models of the package; what they should give comes from onnxruntime or onnx itself."""
    import onnx

    folder = os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data", "light")
    for name in LIGHT:
        model = onnx.load(os.path.join(folder, f"light_{name}.onnx"))
        held = {i.name for i in model.graph.initializer}
        fed = next(i for i in model.graph.input if i.name not in held)
        shape = [d.dim_value or 1 for d in fed.type.tensor_type.shape.dim]
        x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        yield Case(f"light_{name}", model, [x], reference(model, fed.name, x))


def reference(model: Any, fed: str, x: np.ndarray) -> list[np.ndarray]:
    try:
        import onnxruntime

        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        return list(session.run(None, {fed: x}))
    except Exception:  # a runtime that is absent or lacks an operator
        from onnx.reference import ReferenceEvaluator

        return list(ReferenceEvaluator(model).run(None, {fed: x}))


def run_case(case: Case) -> tuple[str, str]:
    """(``pass``, ``refused`` or ``fail``, why)."""
    from edgecl.errors import EdgeclError

    if case.name.startswith(RANDOM):
        return "refused", "draws at random"
    strange = [x for x in (*case.inputs, *case.outputs) if not isinstance(x, np.ndarray) or x.dtype.kind not in "fiub"]
    if strange:
        return "refused", f"values of type {getattr(strange[0], 'dtype', type(strange[0]).__name__)}"
    halves = [x.dtype for x in (*case.inputs, *case.outputs) if x.dtype.kind == "f" and x.dtype != np.float32]
    if halves:
        return "refused", f"dtype {halves[0]}"
    held = {i.name for i in case.model.graph.initializer}
    names = [i.name for i in case.model.graph.input if i.name not in held or len(held) == 0][: len(case.inputs)]
    given = dict(zip(names, case.inputs))
    reason = ""
    for fed in [n for n, x in given.items() if x.dtype == np.float32]:
        for batch in (0, None, 1):
            try:
                return ("pass", "") if (wrong := attempt(case, given, fed, batch)) is None else ("fail", wrong)
            except EdgeclError as error:
                reason = reason or str(error)
    try:
        from edgecl.graph.importers.onnx import fold_onnx

        found = list(fold_onnx(case.model, given).values())
    except EdgeclError as error:
        return "refused", reason or str(error)
    wrong = next((w for a, b in zip(found, case.outputs) if (w := differs(a, b, 1e-5))), None)
    return ("pass", "folded") if wrong is None else ("fail", wrong)


def attempt(case: Case, given: dict[str, np.ndarray], fed: str, batch: int | None) -> str | None:
    """Imports with ``fed`` as the data and its batch there; what differs, or None."""
    from edgecl.compiler import Optimizer, compile_plan
    from edgecl.engine import Model
    from edgecl.engine.native import NativeEngine
    from edgecl.errors import BadInput
    from edgecl.graph.importers import from_onnx

    x = given[fed]
    if x.size == 0 or (batch is not None and x.ndim <= batch):
        raise BadInput("There is no such axis, or nothing along it.", "")
    shape = [n for a, n in enumerate(x.shape) if a != batch]
    constants = {n: v for n, v in given.items() if n != fed}
    imported = from_onnx(case.model, batch_axis=batch, input_shape=shape, constants=constants)
    tensors = [o["tensor"] for o in imported.notes["outputs"]]
    model = Model(imported.graph, np.random.default_rng(0))
    for name, value in imported.weights.items():
        model[name].values[:] = value.ravel()
    samples = x[None] if batch is None else np.moveaxis(x, batch, 0)
    plan = compile_plan(imported.graph, batch=len(samples), optimizer=Optimizer(), fetch=tuple(tensors))
    training = any(a.name == "training_mode" and a.i for n in case.model.graph.node for a in n.attribute)
    engine = NativeEngine(model, plan)
    found = engine.forward({"input": np.ascontiguousarray(samples)}, fetch=tuple(tensors), training=training)
    values = dict(imported.constants)
    for o in imported.notes["outputs"]:
        value = found[o["tensor"]]
        values[o["name"]] = value[0] if o["batch"] is None else np.moveaxis(value, 0, o["batch"])
    scale = max(float(np.abs(t).max(initial=0)) for t in case.outputs) if case.name.startswith("light_") else 0.0
    for i, (o, expected) in enumerate(zip(case.model.graph.output, case.outputs)):
        if training and i:
            break  # new statistics: ours are unbiased, ONNX's are not
        if o.name not in values:
            raise BadInput(f"The output '{o.name}' is not made.", "")
        if wrong := differs(values[o.name], expected, 1e-3 * scale if scale else 1e-5):
            return f"'{o.name}' {wrong}"
    return None


def differs(ours: np.ndarray, expected: np.ndarray, absolute: float) -> str | None:
    if ours.size != expected.size:
        return f"has shape {ours.shape}, not {expected.shape}"
    a, b = np.asarray(ours, np.float64).ravel(), np.asarray(expected, np.float64).ravel()
    a, b = np.clip(a, -LARGEST, LARGEST), np.clip(b, -LARGEST, LARGEST)  # infinite masks are the largest float32 here
    if np.allclose(a, b, rtol=1e-3, atol=absolute, equal_nan=True):
        return None
    return f"differs by {np.nanmax(np.abs(a - b)):.3g}"


def run_kind(
    kind: str, every: int = 1, only: str = "", say: bool = False
) -> tuple[dict[str, int], Counter[str], list[str]]:
    """(cases by outcome, refusals by reason, a line for each failure) of every ``every``-th case of one kind."""
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    failures = []
    for i, case in enumerate(cases(kind)):
        if only not in case.name or i % every:
            continue
        try:
            status, why = run_case(case)
        except Exception as error:  # a traceback is a failure of ours, whatever it is
            status, why = "fail", f"{type(error).__name__}: {error}"
        counts[status] += 1
        if status == "refused":
            reasons[short(why)] += 1
            if say:
                print(f"refused {case.name}: {why[:300]}", flush=True)
        if status == "fail":
            failures.append(f"{case.name}: {why[:300]}")
    return {k: counts[k] for k in ("pass", "refused", "fail")}, reasons, failures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--every", type=int, default=1, help="every N-th case only")
    parser.add_argument("--list", action="store_true", help="print every refusal")
    a = parser.parse_args()
    warnings.filterwarnings("ignore")
    totals: dict[str, Any] = {}
    start = time.time()
    for kind in a.kinds.split(","):
        totals[kind], reasons, failures = run_kind(kind, a.every, a.only, say=a.list)
        for line in failures:
            print(f"fail {line}", flush=True)
        print(", ".join(f"{n} {what}" for what, n in totals[kind].items()) + f" of {kind}")
        for why, n in reasons.most_common(200 if a.list else 12):
            print(f"    {n:4d} {why}")
    print(f"{time.time() - start:.0f} s")
    rows = [{"kind": kind, **counts} for kind, counts in totals.items()]
    write("onnx_suite", rows, a.json, ("onnx", "onnxruntime"), **totals)
    sys.exit(1 if any(t["fail"] for t in totals.values()) else 0)


def short(why: str) -> str:
    """A refusal without its place, to count by."""
    import re

    line = next((part for part in why.split("\n") if part.startswith("Operator")), why)
    return re.sub(r" at '[^']*'", "", line)[:110]


if __name__ == "__main__":
    main()
