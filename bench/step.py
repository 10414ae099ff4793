"""Whole training step, ours against dense torch (the better of default and channels_last), interleaved.

A step is forward, cross-entropy, backward, batch norm and SGD with momentum. All convolutions but the stem are
sparse at the given density with uniform random masks.
"""

from __future__ import annotations

import numpy as np
from common import arguments, interleave, median, quantile, table, write

from edgecl import _kernels
from edgecl.compiler import Optimizer, compile_plan
from edgecl.engine import Model
from edgecl.engine.native import NativeEngine
from edgecl.graph.builders import build
from edgecl.methods.losses import cross_entropy


class Step:
    """One training step of our engine."""

    def __init__(self, net: str, batch: int, density: float, keep: float, threads: int) -> None:
        rng = np.random.default_rng(0)
        graph = build(net, (3, 32, 32), 10, input_dtype="float32")
        model = Model(graph, rng)
        sparse = [n.parameters[0] for n in graph.nodes if n.op == "conv2d"][1:]
        for name in sparse:
            p = model[name]
            living = round(p.spec.size * density)
            if density < 1:
                p.set_pattern(np.sort(rng.choice(p.spec.size, living, replace=False)))
        plan = compile_plan(
            graph,
            batch=batch,
            densities=dict.fromkeys(sparse, density),
            optimizer=Optimizer(momentum=0.9, weight_decay=1e-4),
            threads=threads,
        )
        self.engine = NativeEngine(model, plan)
        if keep < 1:
            for name in sparse:
                living = model[name].living
                kept = rng.choice(living, round(living * keep), replace=False)
                self.engine.set_gradient_mask(name, np.sort(kept))
        self.feeds = {graph.input: rng.normal(size=(batch, 3, 32, 32)).astype(np.float32)}
        self.y = rng.integers(0, 10, batch)

    def __call__(self) -> None:
        logits = self.engine.forward(self.feeds)["logits"]
        _, gradient = cross_entropy(logits, self.y)
        self.engine.backward({"logits": gradient})
        self.engine.step(0.05)


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--nets", nargs="+", default=["resnet18:32", "resnet18:8", "resnet20:32", "resnet20:8"])
    parser.add_argument("--densities", nargs="+", type=float, default=[0.25, 0.10, 0.05, 1.0])
    parser.add_argument("--keep", nargs="+", type=float, default=[1.0], help="shares of living weights with gradients")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    rounds = 5 if options.quick else options.rounds
    nets = options.nets[:1] if options.quick else options.nets

    import torch
    from torch_nets import Step as TorchStep

    torch.set_num_threads(options.threads)
    rows = []
    for item in nets:
        net, size = item.split(":")
        batch = int(size)
        cases = [(d, k) for d in options.densities for k in options.keep if d < 1 or k == 1]
        contenders = {
            "default": TorchStep(net, batch, False),
            "channels_last": TorchStep(net, batch, True),
            **{f"{d} {k}": Step(net, batch, d, k, options.threads) for d, k in cases},
        }
        wall, cpu = interleave(contenders, rounds)
        best = min(("default", "channels_last"), key=lambda n: median(wall[n]))
        for d, k in cases:
            ours = f"{d} {k}"
            ratios = [p / o for p, o in zip(wall[best], wall[ours])]
            rows.append(
                {
                    "net": net,
                    "batch": batch,
                    "density": d,
                    "gradient_keep": k,
                    "threads": options.threads,
                    "peer": f"torch {torch.__version__} dense {best}",
                    "peer_ms": median(wall[best]) * 1e3,
                    "ours_ms": median(wall[ours]) * 1e3,
                    "ratio_median": median(ratios),
                    "ratio_iqr": quantile(ratios, 0.75) - quantile(ratios, 0.25),
                    "ratio_cpu_median": median([p / o for p, o in zip(cpu[best], cpu[ours])]),
                    "n": rounds,
                }
            )
        table(rows[-len(cases) :])
    write("step", rows, options.json, ("torch",), isa=_kernels.isa())


if __name__ == "__main__":
    main()
