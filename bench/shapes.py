"""Speed of one sparse convolution over image sizes and batches: is there a cliff?

A 3x3 convolution (1x3 on signals) with channel counts that are multiples of nothing and 10 % living weights, in a
training step on one thread. GFLOP/s count real samples and living weights, padding zeros included; `worst` is the
slowest of forward and both gradients against the best such point with at least 8 samples. The rule: no point worse
than 2.5x with at least 8 samples, than 4x with 1-4 samples and maps of at least 14x14; smaller ones are printed.
"""

from __future__ import annotations

import numpy as np
from common import arguments, table, write

from edgecl import _kernels
from edgecl.compiler import Optimizer, compile_plan
from edgecl.engine import Model
from edgecl.engine.native import NativeEngine
from edgecl.engine.profile import operation_times
from edgecl.graph import GraphBuilder

SIZES = ((224, 224), (96, 96), (56, 56), (32, 32), (28, 28), (14, 14), (13, 17), (7, 7), (1, 128))
BATCHES = (1, 2, 3, 4, 8, 16, 32)
CHANNELS = (37, 53)
PASSES = {"conv": "forward", "conv_input": "input_gradient", "conv_weight": "weight_gradient"}
POSITIONS = 224 * 224 * 4  # larger grids are left out: batches of large images do not fit a device


def measure(h: int, w: int, batch: int, density: float, rounds: int) -> dict[str, float]:
    """GFLOP/s of the three passes of the sparse layer; of each the fastest of ``rounds`` steps."""
    rng = np.random.default_rng(0)
    inner, out = CHANNELS
    kernel = [1, 3] if h == 1 else [3, 3]
    g = GraphBuilder("one", (3, h, w), "float32")
    x = g.add("normalise", [g.input], name="input_norm", mean=[0.0] * 3, std=[1.0] * 3, pad=0)
    x = g.add("conv2d", [x], name="first", out=inner, kernel=[1, 1])
    x = g.add("relu", [g.add("batch_norm", [x], name="first_norm")], name="first_relu")
    x = g.add("conv2d", [x], name="sparse", out=out, kernel=kernel, padding=[k // 2 for k in kernel], prunable=True)
    x = g.add("relu", [g.add("batch_norm", [x], name="norm")], name="relu")
    graph = g.build(g.add("global_avg_pool", [x], name="pooled"))
    model = Model(graph, rng)
    p = model["sparse.weight"]
    p.set_pattern(np.sort(rng.choice(p.spec.size, round(p.spec.size * density), replace=False)).astype(np.int32))
    plan = compile_plan(graph, batch=batch, densities={"sparse.weight": density}, optimizer=Optimizer())
    engine = NativeEngine(model, plan)
    feeds = {graph.input: rng.normal(size=(batch, 3, h, w)).astype(np.float32)}
    best = dict.fromkeys(PASSES.values(), 0.0)
    before: dict[str, float] = {}
    for _ in range(rounds + 2):
        logits = engine.forward(feeds)["logits"]
        engine.backward({"logits": np.ones_like(logits)})
        engine.step(0.0)
        for t in operation_times(engine):
            if t.node == "sparse" and t.kind in PASSES:
                seconds = t.seconds - before.get(t.kind, 0.0)
                before[t.kind] = t.seconds
                best[PASSES[t.kind]] = max(best[PASSES[t.kind]], 2e-9 * t.macs * batch / seconds)
    return best


def limit(h: int, w: int, batch: int) -> float | None:
    """How much slower than the best point this one may be; None: it is printed only."""
    if batch >= 8:
        return 2.5
    return 4.0 if min(h, w) >= 14 else None


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--density", type=float, default=0.1)
    options = parser.parse_args()
    rounds = 3 if options.quick else 8
    rows = []
    for h, w in SIZES:
        for batch in BATCHES:
            if h * w * batch > POSITIONS:
                continue
            speeds = measure(h, w, batch, options.density, rounds)
            rows.append({"size": f"{h}x{w}", "batch": batch, "density": options.density, "limit": limit(h, w, batch),
                         **{f"{k}_gflops": v for k, v in speeds.items()}})  # fmt: skip
    best = {k: max(r[f"{k}_gflops"] for r in rows if r["batch"] >= 8) for k in PASSES.values()}
    for r in rows:
        r["worst"] = max(best[k] / r[f"{k}_gflops"] for k in best)
        r["within"] = None if r["limit"] is None else r["worst"] <= r["limit"]
    table(rows)
    outside = [f"{r['size']} b{r['batch']}" for r in rows if r["within"] is False]
    print(f"outside the rule: {', '.join(outside) or 'none'}")
    write("shapes", rows, options.json, (), ("size", "batch", "density"), isa=_kernels.isa(), channels=list(CHANNELS))


if __name__ == "__main__":
    main()
