"""What a mask update costs, beside the step it is amortised over.

`tdm`: shrink by 1 % of the weights, then grow as many at random, as SparCL does; `rigl`: drop the smallest 1 % and
grow where the dense gradient is largest (Evci et al. 2020), which adds a pass for that gradient to one step. Both
include rebuilding the index lists. The share is of a step, over a period of 100 steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from common import arguments, median, table, write
from ours import Step

from edgecl import _kernels
from edgecl.sparsity.base import Importances, Update
from edgecl.sparsity.masks import top_k
from edgecl.sparsity.tdm import TDM

PERIOD = 100
DELTA = 0.01
KEY = ("net", "batch", "density", "policy", "threads")


def tdm(step: Step, rng: np.random.Generator) -> None:
    policy, engine = TDM(delta=DELTA), step.engine
    for name in step.masks:
        p = step.model[name]
        last = np.abs(engine.gradients[name])
        for pattern in policy.new_patterns(p, p.density, Update(1, 0), Importances(last=last), rng):
            engine.set_pattern(name, pattern)
    engine._sync()  # list building belongs to the update


def rigl(step: Step, rng: np.random.Generator) -> None:
    """A step with dense gradients, then the exchange."""
    engine, best = step.engine, {}

    def look(name: str, rows: range, block: np.ndarray) -> None:
        """Keeps the largest |gradient| of dead weights of this block, as many as would grow at most."""
        p = step.model[name]
        per_row = block[0].size
        start, stop = rows.start * per_row, rows.stop * per_row
        scores = np.abs(block).reshape(-1)
        living = p.pattern[np.searchsorted(p.pattern, start) : np.searchsorted(p.pattern, stop)]
        scores[living - start] = -1
        top = top_k(scores, round(DELTA * p.spec.size))
        best.setdefault(name, []).append((scores[top], top + start))

    engine.visit_dense_gradients(list(step.masks), look)
    step()
    for name in step.masks:
        p = step.model[name]
        count = round(min(DELTA * p.spec.size, p.living / 2))
        scores = np.concatenate([s for s, _ in best[name]])
        places = np.concatenate([i for _, i in best[name]])
        kept = p.pattern[top_k(np.abs(p.values), p.living - count)]
        grown = places[top_k(scores, count)]
        engine.set_pattern(name, kept)
        engine.set_pattern(name, np.union1d(kept, grown).astype(np.int32))
    engine._sync()


UPDATES: dict[str, Callable[[Step, np.random.Generator], None]] = {"tdm": tdm, "rigl": rigl}


def timed(call: Callable[[], None], rounds: int) -> float:
    seconds = []
    for r in range(-1, rounds):
        start = time.perf_counter()
        call()
        if r >= 0:
            seconds.append(time.perf_counter() - start)
    return median(seconds)


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--nets", nargs="+", default=["resnet18:32", "resnet20:32", "mobilenetv2:32"])
    parser.add_argument("--densities", nargs="+", type=float, default=[0.25, 0.1, 0.05])
    parser.add_argument("--threads", type=int, default=2)
    o = parser.parse_args()
    rounds = 3 if o.quick else 7
    rows: list[dict[str, Any]] = []
    for item in o.nets[:1] if o.quick else o.nets:
        net, batch = item.split(":")
        for density in o.densities:
            step = Step(net, int(batch), density, threads=o.threads)
            plain = timed(step, 2 * rounds)
            for policy, update in UPDATES.items():
                rng = np.random.default_rng(0)
                cost = timed(lambda u=update, s=step, g=rng: u(s, g), rounds)
                if policy == "rigl":
                    cost -= plain  # its step would have run anyway
                rows.append(
                    {
                        "net": net,
                        "batch": int(batch),
                        "density": density,
                        "threads": o.threads,
                        "policy": policy,
                        "update_ms": cost * 1e3,
                        "step_ms": plain * 1e3,
                        "period_steps": PERIOD,
                        "share_of_step": cost / (PERIOD * plain),
                    }
                )
    table(rows)
    write("mask_update", rows, o.json, (), KEY, isa=_kernels.isa())


if __name__ == "__main__":
    main()
