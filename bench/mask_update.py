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
from edgecl.sparsity import TDM, Evidence, Move, Tensor, exchange, exchange_for_candidates
from edgecl.sparsity.dense import DeadGradients
from edgecl.sparsity.moves import stages

PERIOD = 100
DELTA = 0.01
KEY = ("net", "batch", "density", "policy", "threads")


def tdm(step: Step, rng: np.random.Generator) -> None:
    policy, engine = TDM(delta=DELTA), step.engine
    for name in step.masks:
        p = step.model[name]
        tensor = Tensor.of(p, p.density)
        evidence = Evidence(last=np.abs(engine.gradients[name]))
        move = Move(p.density - policy.step_of(p.density), p.density)
        change = exchange(tensor, move, lambda t=tensor, e=evidence: policy.importance(t, e), rng)
        for pattern in stages(policy.name, p, change, 1.0):
            engine.set_pattern(name, pattern)
    engine._sync()  # list building belongs to the update


def rigl(step: Step, rng: np.random.Generator) -> None:
    """A step with dense gradients, then the exchange."""
    engine = step.engine
    counts = {n: round(min(DELTA * step.model[n].spec.size, step.model[n].living / 2)) for n in step.masks}
    dead = DeadGradients(engine, counts)
    engine.visit_dense_gradients(list(step.masks), dead.visit)
    step()
    found = dead.candidates()
    for name in step.masks:
        p = step.model[name]
        change = exchange_for_candidates(Tensor.of(p, p.density), counts[name], found[name])
        for pattern in stages("rigl", p, change, 1.0):
            engine.set_pattern(name, pattern)
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
