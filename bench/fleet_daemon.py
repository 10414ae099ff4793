"""A daemon in a fleet's round beside the same daemon that learns as many steps alone: resident set, predictions.

One daemon (cnn, 28x28, 90 % sparse), in turns: `learn` of N steps, a round of N steps. `rss_mb`: highest of the daemon
meanwhile; `p50_ms`, `p99_ms`: of predictions by one client, 100 a second; `others`: share of the machine's cores that
other processes took, beyond which the seconds say little. The server's part runs in this process, without Flower.

    python bench/fleet_daemon.py [--steps N] [--turns N] [--quick] [--json FILE]
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from common import Neighbours, arguments, quantile, table, write

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "service"))
LEARNER = {"network": "cnn", "classes": 10, "sparsity": 0.9, "sparsity_policy": "static", "memory": 200}


def asked(daemon: Any, work: Any) -> dict[str, Any]:
    """What predictions take, and the daemon's highest resident set, while ``work()`` runs."""
    done, times, highest = threading.Event(), list[float](), [0]
    x = np.random.default_rng(0).integers(0, 256, (1, 1, 28, 28)).astype(np.uint8)
    process = psutil.Process(daemon.process.pid)

    def ask() -> None:
        with daemon.client() as client:
            while not done.is_set():
                t = time.perf_counter()
                client.predict(x)
                times.append(1e3 * (time.perf_counter() - t))
                highest[0] = max(highest[0], process.memory_info().rss)
                time.sleep(0.01)

    thread = threading.Thread(target=ask)
    thread.start()
    with Neighbours() as others:
        work()
    done.set()
    thread.join()
    return {"rss_mb": round(highest[0] / 1e6, 1), "p50_ms": round(quantile(times, 0.5), 2),
            "p99_ms": round(quantile(times, 0.99), 2), "predictions": len(times),
            "others": round(others.share, 2)}  # fmt: skip


def measure(steps: int, turns: int, place: Path) -> list[dict[str, Any]]:
    from daemons import Daemon

    from edgecl.fleet.rounds import Known, Rounds, Rules
    from edgecl.fleet.simulated import Way, first_model

    daemon = Daemon(place)
    rows = "\n".join(f"{k} = {v!r}".replace("'", '"') for k, v in LEARNER.items())
    daemon.sections["learner"] = f"input_shape = [1, 28, 28]\n{rows}\n"
    daemon.sections["fleet"] = f'join = true\nname = "a"\non_battery = true\nsteps = {steps}\n'
    daemon.start()
    rounds = Rounds(first_model(Way(LEARNER, True, True, "local"), (1, 28, 28), "uint8", 0), Rules(form="f16"))
    rng, found = np.random.default_rng(1), []
    try:
        with daemon.client() as client:
            for _ in range(3):
                x = rng.integers(0, 256, (1000, 1, 28, 28)).astype(np.uint8)
                client.observe(x, [f"label {k}" for k in rng.integers(0, 10, 1000)]).wait()
            client.learn(steps=20)

            def one_round() -> None:
                about = client.fleet()
                known = Known(about["device"], tuple(about["labels"]), about["base"], about["pattern"])
                update, _ = client.fleet_round(rounds.message(known), steps)
                rounds.take(update)
                rounds.close()

            for turn in range(turns):
                for what, work in (("learn", lambda: client.learn(steps=steps)), ("round", one_round)):
                    found.append({"turn": turn, "what": what, "steps": steps, **asked(daemon, work)})
                    print(found[-1], flush=True)
    finally:
        daemon.end()
    return found


def main() -> None:
    parser = arguments(str(__doc__))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args()
    steps, turns = (50, 2) if args.quick else (args.steps, args.turns)
    with tempfile.TemporaryDirectory() as place:
        rows = measure(steps, turns, Path(place))
    shown = []
    for what in ("learn", "round"):
        own = [r for r in rows if r["what"] == what]
        shown.append({"what": what, "steps": steps, "turns": turns, "rss_mb": max(r["rss_mb"] for r in own),
                      **{n: quantile([r[n] for r in own], 0.5) for n in ("p50_ms", "p99_ms", "others")}})  # fmt: skip
    table(shown)
    write("fleet_daemon", shown, args.json, key=("what",), turns=rows)


if __name__ == "__main__":
    main()
