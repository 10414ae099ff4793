"""How long a ridge head takes to forget one person of fifty, and whether it is then one that never saw them.

Two learners with a store take two tasks, the body learns on the first, the ridge head (RanPAC's, `--features` random
features) counts all; to one of them the person never comes. `seconds` is Learner.forget without the forwards of the
body that read the person's features again (`prefix_seconds`); `apart` is the largest difference between the weights of
the two heads, over the largest weight.

    python bench/forget_head.py [--quick] [--features M] [--json FILE] [--dir DIR]
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import arguments, table, write
from edgecl.storage import KeyFile

from edgecl import Learner
from edgecl.learning.context import EventContext

SHAPE, CLASSES, PERSON, EACH, TURN = (1, 12, 12), 10, 100, 1000, 500
SECONDS, APART = 1.0, 1e-6  # targets
prefix = [0.0]


def timed(evaluate: Any) -> Any:
    def wrapped(*given: Any, **how: Any) -> Any:
        began = time.perf_counter()
        try:
            return evaluate(*given, **how)
        finally:
            prefix[0] += time.perf_counter() - began

    return wrapped


def taught(place: Path, samples: int, features: int, encrypted: bool, leave_out: int | None = None) -> Learner:
    """A learner that saw ``samples``; the second half, classes 5 to 9, in turns of people with 1,000 each."""
    rng = np.random.default_rng(0)
    centres = rng.integers(40, 200, (CLASSES, *SHAPE))
    key = KeyFile(place.with_suffix(".key")) if encrypted else None
    options: dict[str, Any] = {"method": "ridge", "random_features": features, "seed": 0, "batch": 32}
    learner = Learner("mlp", input_shape=SHAPE, classes=CLASSES, store=str(place), root_key=key, buffer=TURN, **options)
    for task in range(2):
        for at in range(0, samples // 2, TURN):
            y = rng.integers(5 * task, 5 * task + 5, TURN)
            x = np.clip(centres[y] + rng.normal(0, 30, (TURN, *SHAPE)), 0, 255).astype(np.uint8)
            subject = PERSON + (at // TURN + 1) % (samples // EACH // 2) if task else 0  # units in one order in both
            if subject == leave_out:
                continue
            learner.observe(x, y.tolist(), subject=subject)
            learner.learn(epochs=1)
        learner.end_task()
    return learner


def main() -> None:
    parser = arguments(str(__doc__))
    parser.add_argument("--features", type=int, default=512, metavar="M")
    parser.add_argument("--dir", metavar="DIR", help="where the stores are made (default: a temporary folder)")
    args = parser.parse_args()
    samples = 10_000 if args.quick else 100_000
    EventContext.evaluate = timed(EventContext.evaluate)  # type: ignore[method-assign]
    rows = []
    for encrypted in (True, False):
        with tempfile.TemporaryDirectory(dir=args.dir) as folder:
            place = Path(folder)
            with (
                taught(place / "a", samples, args.features, encrypted) as ours,
                taught(place / "b", samples, args.features, encrypted, PERSON) as never,
            ):
                prefix[0], began = 0.0, time.perf_counter()
                receipt = ours.forget(PERSON)
                whole = time.perf_counter() - began
                a, b = (m.solve(m.counted)[0] for m in (learner.core.parts.method for learner in (ours, never)))
            rows.append({
                "what": "ridge", "encrypted": encrypted, "samples": samples, "subject_samples": len(receipt.ids),
                "random_features": args.features, "seconds": whole - prefix[0], "prefix_seconds": prefix[0],
                "apart": float(np.abs(a - b).max() / np.abs(b).max()), "statistics": receipt.statistics,
            })  # fmt: skip
    table(rows)
    met = all(r["seconds"] < SECONDS and r["apart"] <= APART and r["statistics"] == "exact" for r in rows)
    print(f"target {SECONDS:g} s, {APART:g}: {'met' if met else 'missed'}")
    if args.json:
        write("forget_head", rows, args.json, key=("what", "encrypted", "samples", "random_features"))


if __name__ == "__main__":
    main()
