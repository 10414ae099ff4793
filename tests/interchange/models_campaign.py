"""Damaged model files: bytes of `.onnx` and `.edgecl` files changed at random, fields of either altered with checksums
that hold. Wanted: a refusal that says what is wrong, or a network that predicts and takes a training step; no error
without a type, no death, no growth over `MOST_GROWTH`.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from mutations import altered, altered_box, damaged
from onnx import helper, numpy_helper

from edgecl.acceptance import ROWS, accept, engine_of
from edgecl.compiler import Optimizer, compile_plan
from edgecl.errors import EdgeclError
from edgecl.graph.builders import build
from edgecl.graph.check import check_graph
from edgecl.graph.exporters import to_onnx
from edgecl.graph.importers import from_onnx
from edgecl.network import Network

MOST_GROWTH = 256_000_000  # bytes, over all files
MOST_TRIED = 32_000_000  # bytes of a plan: larger networks are sound, but not run here
KINDS = ("onnx bytes", "onnx fields", "edgecl bytes", "edgecl fields")


def seeds(place: Path) -> tuple[list[bytes], list[bytes]]:
    """Sound files: small ones with convolutions, recurrence, attention-like products, shape arithmetic."""
    found, box = [], []
    for name, shape in (("cnn", (1, 12, 12)), ("gru", (3, 1, 12)), ("mobilenetv3_small", (3, 16, 16))):
        path = place / f"{name}.onnx"
        network = Network(build(name, shape, 3, **({"width": 0.25} if name.startswith("mobile") else {})))
        weights = {n: p.dense() for n, p in engine_of(network).model.parameters.items()}
        to_onnx(network.graph, weights, path, keep_bn=name == "cnn")
        found.append(path.read_bytes())
        box.append(network.save(place / "seed.edgecl").read_bytes())
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Gather", ["s", "zero"], ["b"], axis=0),
        helper.make_node("Unsqueeze", ["b", "first"], ["bb"]),
        helper.make_node("Concat", ["bb", "rest"], ["to"], axis=0),
        helper.make_node("Reshape", ["x", "to"], ["t"]), helper.make_node("MatMul", ["t", "w"], ["m"]),
        helper.make_node("Softmax", ["m"], ["p"], axis=-1),
        helper.make_node("ReduceMean", ["p", "last"], ["y"], keepdims=0),
    ]  # fmt: skip
    held = {
        "zero": np.array(0), "first": np.array([0]), "rest": np.array([4, 16]), "last": np.array([1]),
        "w": rng.normal(size=(16, 5)).astype(np.float32),
    }  # fmt: skip
    graph = helper.make_graph(
        nodes, "shapes", [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["b", 8, 8])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(v, k) for k, v in held.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    found.append(model.SerializeToString())
    biased = Network(build("mlp", (4,), 3, head="cosine"), {"logits_scale.value": np.ones(1, np.float32)})
    foreign = from_onnx(found[-1])
    tokens = Network(build("kwt_tiny", (1, 10, 8), 3))
    for network in (biased, Network(foreign.graph, foreign.weights), tokens):
        box.append(network.save(place / "seed.edgecl").read_bytes())
    return found, box


def tried(read: Callable[[], Network]) -> str:
    """What became of a file: ``refused``, ``sound``, or ``large`` where it was not run."""
    try:
        network = read()
        check_graph(network.graph)
        plan = compile_plan(network.graph, batch=ROWS, optimizer=Optimizer())
        if sum(plan.memory.values()) > MOST_TRIED:
            return "large"
        accept(network, network, None)
    except EdgeclError as error:
        if not error.cause:
            raise AssertionError("a refusal without a cause") from error
        return "refused"
    return "sound"


def of_onnx(content: bytes) -> Network:
    imported = from_onnx(content)
    return Network(imported.graph, imported.weights, imported.notes)


def run(place: Path, files: int, seed: int) -> dict[str, Any]:
    """Tries so many files; what became of them by kind, what failed, and how far the process grew."""
    rng = np.random.default_rng(seed)
    found, box = seeds(place)
    for content in found:
        assert tried(lambda content=content: of_onnx(content)) == "sound"
    path, failures, counts = place / "m.edgecl", [], {kind: Counter() for kind in KINDS}
    for content in box:
        path.write_bytes(content)
        assert tried(lambda: Network.load(path)) == "sound"
    before, longest = grown(), 0.0
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for i in range(files):
            kind = KINDS[i % 4]
            (place / "at").write_text(f"{i} {kind}")
            given = found if kind.startswith("onnx") else box
            source = given[i // 4 % len(given)]
            if kind == "onnx bytes":
                content = damaged(source, rng)
            elif kind == "onnx fields":
                content = altered(source, rng)
            elif kind == "edgecl bytes":
                content = damaged(source, rng)
            else:
                content = altered_box(source, rng, place)
            begun = time.perf_counter()
            try:
                if kind.startswith("onnx"):
                    came = tried(lambda content=content: of_onnx(content))
                else:
                    path.write_bytes(content)
                    came = tried(lambda: Network.load(path))
            except Exception:
                came = "failed"
                failures.append(f"{i} {kind}: {traceback.format_exc().strip().splitlines()[-1][:200]}")
                (place / f"failed-{i}").write_bytes(content)
            longest = max(longest, time.perf_counter() - begun)
            counts[kind][came] += 1
    growth = grown() - before
    if growth > MOST_GROWTH and not sanitized():
        failures.append(f"the process grew by {growth} bytes")
    return {
        "files": files, "failures": failures, **{kind: dict(c) for kind, c in counts.items()},
        "growth_bytes": growth, "longest_seconds": round(longest, 2),
    }  # fmt: skip


def grown() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def sanitized() -> bool:
    """Whether AddressSanitizer runs along, which keeps what was freed."""
    return "libasan" in os.environ.get("LD_PRELOAD", "")


def models(place: Path, rounds: int, seed: int) -> dict[str, Any]:
    """`run` in a process for each processor, with files of its own; the death of one is a failure too."""
    begun, parts = time.monotonic(), min(os.cpu_count() or 1, rounds)
    shares = [rounds * (i + 1) // parts - rounds * i // parts for i in range(parts)]
    with ThreadPoolExecutor(parts) as pool:
        rows = list(pool.map(_part, [place / str(i) for i in range(parts)], shares, range(seed, seed + parts)))
    kinds = {kind: dict(sum((Counter(r.get(kind, {})) for r in rows), Counter())) for kind in KINDS}
    growth = sum(r.get("growth_bytes", 0) for r in rows)
    failures = [f for r in rows for f in r["failures"]]
    if growth > MOST_GROWTH and not sanitized():
        failures.append(f"the processes grew by {growth} bytes")
    return {
        "files": rounds, "processes": parts, "failures": failures, **kinds, "growth_bytes": growth,
        "longest_seconds": max(r.get("longest_seconds", 0.0) for r in rows),
        "seconds": round(time.monotonic() - begun, 1),
    }  # fmt: skip


def _part(place: Path, files: int, seed: int) -> dict[str, Any]:
    place.mkdir()
    at = place / "at"
    at.write_text("its start")
    words = [sys.executable, __file__, str(place), str(files), str(seed)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    row = json.loads(lines[-1]) if done.returncode == 0 and lines else {"failures": []}
    if done.returncode:
        said = " | ".join(done.stderr.strip().splitlines()[-30:])
        row["failures"].append(f"died at {at.read_text()} of seed {seed} with {done.returncode}: {said[:3000]}")
    return row


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    print(json.dumps(run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
