"""Bytes of a fleet's round: a real learner takes a model, learns ten steps and answers; what its messages take.

ResNet-18 at 90 % (3x32x32, 10 classes) unless told otherwise. `up` and `down` are what a device sends and receives in a
round; `pattern`: known, or moved since the last round (a tenth of it exchanged, and in the first round all of it);
`dense`: the same tensors as float32 in full. seconds: of CPU, to make and to read the message.

    python bench/fleet_bytes.py [--network NAME] [--sparsity S] [--quick] [--json FILE]
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
from common import arguments, table, write

from edgecl import Learner
from edgecl.fleet.codec import peek
from edgecl.fleet.member import Member
from edgecl.fleet.patterns import exchanged
from edgecl.fleet.rounds import Rounds, Rules
from edgecl.fleet.weights import read, schema_of

STEPS = 10
FLOORS = {("resnet18", 0.9, "f16", "known"): 2_300_000, ("resnet18", 0.9, "f16", "moved"): 3_100_000}


def rows_of(network: str, sparsity: float, form: str, shape: tuple[int, ...]) -> list[dict[str, Any]]:
    """Three rounds: the whole model goes out; the pattern stands; it moved."""
    rng = np.random.default_rng(0)
    more = {"sparsity": sparsity, "sparsity_policy": "static"} if sparsity else {}
    rows = []
    with Learner(network, input_shape=shape, method="naive", batch=8, memory=0, seed=0, **more) as learner:
        learner.observe(rng.integers(0, 256, (40, *shape)).astype(np.uint8), [f"label {i % 10}" for i in range(40)])
        learner.learn(steps=1)
        schema = schema_of(learner.model.graph, learner.model.state())
        rounds = Rounds(read(schema, learner.model.state(), learner.units), Rules(form=form, every=2))
        member = Member(schema, "device", form)
        dense = 4 * sum(t.size * (10 if t.kind == "head" else 1) for t in schema.tensors)
        for _ in range(3):
            t = time.process_time()
            down = rounds.message(member.known(learner.units, {}))
            member.receive(down)
            learner.model.load(member.adopted(learner.model.state(), learner.units))
            receive = time.process_time() - t
            learner.learn(steps=STEPS)
            t = time.process_time()
            up = member.update(learner.model.state(), learner.units, 40, 1)
            rounds.take(up)
            rounds.close()
            sent = peek(down)
            told = "known" if not sent.patterns else "moved" if sent.base else "whole"
            rows.append({
                "network": network, "sparsity": sparsity, "form": form, "pattern": told, "up": len(up),
                "down": len(down), "down_form": sent.form, "dense": dense, "seconds_down": round(receive, 2),
                "seconds_up": round(time.process_time() - t, 2),
            })  # fmt: skip
        # a device whose own pattern moved sends it too: the union mode
        mine = Member(schema, "union", form)
        elsewhere = exchanged(rounds.model, 0.1, rng)
        union = Rounds(elsewhere, Rules(mode="union", form=form))
        mine.receive(union.message(mine.known(learner.units, elsewhere.living)))
        learner.learn(steps=STEPS)
        up = mine.update(learner.model.state(), learner.units, 40, 1)
        rows.append({"network": network, "sparsity": sparsity, "form": form, "pattern": "moved on the device",
                     "up": len(up), "down": 0, "down_form": "", "dense": dense})  # fmt: skip
    return rows


def main() -> int:
    parser = arguments(str(__doc__))
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--sparsity", type=float, default=0.9)
    args = parser.parse_args()
    rows = []
    for form in ("f16",) if args.quick else ("f32", "f16", "int8"):
        rows += rows_of(args.network, args.sparsity, form, (3, 32, 32))
    table(rows)
    if args.json:
        write("fleet_bytes", rows, args.json, key=("network", "sparsity", "form", "pattern"))
    missed = 0
    for row in rows:
        for told, floor in (("known", 2_300_000), ("moved", 3_100_000)):
            at = FLOORS.get((row["network"], row["sparsity"], row["form"], told))
            if at is not None and row["pattern"].startswith(told) and max(row["up"], row["down"]) > floor:
                missed += 1
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
