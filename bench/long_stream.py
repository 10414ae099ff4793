"""Whether a step costs the same at the end of a long stream as at its beginning, in CPU time and in resident memory.

Every method that needs no task ends takes 10,000 experiences of ten samples in a learner of a process of its own, from
classes that come and go; one step each. `cpu_change` is the median CPU time of a call in the last tenth over that in
the first (whose first tenth warms up), less one; `rss_change` the resident set's growth between their ends.

    nice -n 5 python bench/long_stream.py [METHOD ...] [--quick] [--json FILE]
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from common import arguments, table, write

from edgecl.methods import METHODS, make_method, methods
from edgecl.planning.configured import needs_tasks

CPU, RSS = 0.01, 1_000_000  # targets
ONE = """
import json, sys, time
import numpy as np
from edgecl import Learner
from edgecl.budget import resident
method, n = sys.argv[1], int(sys.argv[2])
rng = np.random.default_rng(0)
centres = rng.integers(40, 210, (20, 1, 12, 12))
seconds, memory = [], {}
with Learner("mlp", input_shape=(1, 12, 12), classes=20, method=method, tasks=False, buffer=10, batch=10, lr=0.01,
             memory=200, seed=0) as learner:
    for i in range(n):
        y = (rng.integers(0, 4, 10) + 4 * (i * 40 // n)) % 20
        x = np.clip(centres[y] + rng.normal(0, 25, (10, 1, 12, 12)), 0, 255).astype(np.uint8)
        began = time.process_time()
        learner.observe(x, y.tolist())
        learner.learn(steps=1)
        seconds.append(time.process_time() - began)
        if i + 1 in (n // 10, n):
            memory[i + 1] = resident()
first, last = np.array(seconds[n // 100 : n // 10]), np.array(seconds[-n // 10 :])
print(json.dumps({
    "first_ms": 1e3 * float(np.median(first)), "last_ms": 1e3 * float(np.median(last)),
    "rss_change": memory[n] - memory[n // 10],
}))
"""


def online() -> list[str]:
    """Methods that work without task ends."""
    return [name for name in sorted(methods()) if name in METHODS.names() and not needs_tasks(make_method(name))]


def main() -> None:
    parser = arguments(str(__doc__))
    parser.add_argument("methods", nargs="*", help="by default all that need no tasks")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    n = 1000 if args.quick else 10_000
    for name in args.methods or online():
        done = subprocess.run(
            [sys.executable, "-P", "-c", ONE, name, str(n)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"error: {name}: {done.stderr.strip().splitlines()[-1]}")
        row = {"method": name, "experiences": n, **json.loads(done.stdout)}
        row["cpu_change"] = round(row["last_ms"] / row["first_ms"] - 1, 4)
        row["met"] = abs(row["cpu_change"]) <= CPU and abs(row["rss_change"]) <= RSS
        rows.append(row)
        print(json.dumps(row), flush=True)
        if args.json:
            write("long_stream", [row], args.json, key=("method", "experiences"))
    table(rows)


if __name__ == "__main__":
    main()
