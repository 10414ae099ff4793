"""A training step on two threads while another process keeps one core busy, against the step alone.

The fair share of two cores with one busy neighbour is three quarters to one half of the machine: a step should take
about 1.3 to 2 times as long. A pool whose threads wait for one another by spinning loses far more. torch's step, whose
OpenMP threads spin, is measured beside it in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

from common import arguments, median, quantile, table, write

KEY = ("net", "batch", "density", "contender")
BUSY = "import os\nos.sched_setaffinity(0, {%d})\nwhile True: pass"


def own_seconds(seconds: float, net: str, batch: int, density: float) -> list[float]:
    from ours import Step

    return timed(Step(net, batch, density, threads=2), seconds)


def torch_seconds(seconds: float, net: str, batch: int) -> list[float]:
    import torch
    from torch_nets import Step as TorchStep

    torch.set_num_threads(2)
    return timed(TorchStep(net, batch, True), seconds)


def timed(step: Any, seconds: float) -> list[float]:
    for _ in range(3):
        step()
    found: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(found) < 5:
        start = time.perf_counter()
        step()
        found.append(time.perf_counter() - start)
    return found


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--nets", nargs="+", default=["resnet20:32", "resnet18:32"])
    parser.add_argument("--density", type=float, default=0.1)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--contenders", nargs="+", default=["edgecl", "torch"], choices=["edgecl", "torch"])
    o = parser.parse_args()
    seconds = 1.0 if o.quick else o.seconds
    core = sorted(os.sched_getaffinity(0))[-1]
    rows = []
    for item in o.nets[:1] if o.quick else o.nets:
        net, batch = item.split(":")[0], int(item.split(":")[1])
        for contender in o.contenders:
            found: dict[str, list[float]] = {}
            for case in ("alone", "busy"):
                neighbour = None
                if case == "busy":
                    neighbour = subprocess.Popen([sys.executable, "-c", BUSY % core])
                try:
                    if contender == "edgecl":
                        found[case] = own_seconds(seconds, net, batch, o.density)
                    else:
                        found[case] = torch_seconds(seconds, net, batch)
                finally:
                    if neighbour is not None:
                        neighbour.kill()
                        neighbour.wait()
            rows.append(
                {
                    "net": net,
                    "batch": batch,
                    "density": o.density if contender == "edgecl" else 1.0,
                    "contender": contender,
                    "alone_ms": median(found["alone"]) * 1e3,
                    "busy_ms": median(found["busy"]) * 1e3,
                    "busy_p90_ms": quantile(found["busy"], 0.9) * 1e3,
                    "ratio": median(found["busy"]) / median(found["alone"]),
                    "n": len(found["busy"]),
                }
            )
    table(rows)
    write("contention", rows, o.json, ("torch",), KEY)


if __name__ == "__main__":
    main()
