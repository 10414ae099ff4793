"""A fleet's server in a process of its own: resident set and CPU a round, with many devices that answer in each.

The devices are made up here, by the codec a real one uses: the model that came, every living weight moved a little. The
server gets messages through a pipe, takes them one by one and closes the round as `flwr run` would, saved state
included. `rss`: of the server after each round, `growth`: of the last beyond that after the second; `cpu`: its seconds
a round; `bytes`: that it sent and received in a round.

    python bench/fleet_server.py [--network NAME] [--devices 200] [--rounds 20] [--quick] [--json FILE]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np
from common import arguments, table, write

MB = 1e6


def send(pipe: IO[bytes], block: bytes) -> None:
    pipe.write(len(block).to_bytes(8, "little") + block)
    pipe.flush()


def receive(pipe: IO[bytes]) -> bytes:
    return pipe.read(int.from_bytes(pipe.read(8), "little"))


def serve(folder: str) -> None:
    """The child: an empty question ends a round, one of JSON asks for the model, any other is an update."""
    import psutil

    from edgecl.fleet.serving import Serving

    serving, own = Serving(Path(folder)), psutil.Process()
    into, out = sys.stdin.buffer, sys.stdout.buffer
    while True:
        block = receive(into)
        if not block:
            serving.close()
            used = own.cpu_times()
            about = {"rss": own.memory_info().rss, "cpu": used.user + used.system}
            send(out, json.dumps(about).encode())
        elif block[:1] == b"{":
            send(out, serving.message(json.loads(block)))
        else:
            serving.take(block)
            send(out, b"ok")


def measure(network: str, devices: int, rounds: int, place: Path) -> list[dict[str, Any]]:
    from edgecl.fleet.codec import About, decode, encode
    from edgecl.fleet.model import FleetModel
    from edgecl.fleet.quantise import Feedback
    from edgecl.fleet.rounds import Known, Rules
    from edgecl.fleet.serving import Serving
    from edgecl.fleet.simulated import Way, first_model

    options = {"network": network, "sparsity": 0.9, "sparsity_policy": "static", "method": "naive", "memory": 0}
    first = first_model(Way(options, True, True, "local"), (3, 32, 32), "uint8", 0)
    labels = tuple(f"label {k}" for k in range(10))
    Serving.begin(place, first, Rules(form="f16", every=5, least=1))
    child = subprocess.Popen([sys.executable, __file__, "--serve", str(place)], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)  # fmt: skip
    assert child.stdin is not None and child.stdout is not None
    rng, has, found, before = np.random.default_rng(0), first, [], 0.0
    bases: FleetModel | None = None
    for number in range(1, rounds + 1):
        down = up = 0
        for k in range(devices):
            known = Known(f"device-{k}", labels, "" if bases is None else bases.digest,
                          "" if bases is None else bases.pattern_digest)  # fmt: skip
            send(child.stdin, json.dumps({**asdict(known), "network": first.schema.digest}).encode())
            message = receive(child.stdout)
            down += len(message)
            if k == 0:  # all are sent the same
                has = decode(message, first.schema, bases).model
            values = {n: v + np.float32(1e-3) * rng.standard_normal(v.size, np.float32) for n, v in has.values.items()}
            for t in has.schema.of("head"):
                values[t.name] = rng.standard_normal(t.size * 10, np.float32) * np.float32(0.01)
            model = FleetModel(has.schema, labels, values, has.patterns)
            wire = Feedback().take(model, has, "f16")
            about = About("update", known.device, number, 100, 20)
            update = encode(model, about, base=has, wire=wire, form="f16", patterns=False)
            up += len(update)
            send(child.stdin, update)
            assert receive(child.stdout) == b"ok"
        bases = has
        t = time.perf_counter()
        send(child.stdin, b"")
        said = json.loads(receive(child.stdout))
        found.append({"network": network, "devices": devices, "round": number, "rss_mb": round(said["rss"] / MB, 1),
                      "cpu_s": round(said["cpu"] - before, 2), "close_s": round(time.perf_counter() - t, 2),
                      "down_mb": round(down / MB, 1), "up_mb": round(up / MB, 1)})  # fmt: skip
        before = said["cpu"]
        print(json.dumps(found[-1]), flush=True)
    child.stdin.close()
    child.kill()
    child.wait()
    return found


def main() -> int:
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2])
        return 0
    parser = arguments(str(__doc__))
    parser.add_argument("--network", default="resnet20")
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    devices, rounds = (20, 4) if args.quick else (args.devices, args.rounds)
    with tempfile.TemporaryDirectory() as place:
        rows = measure(args.network, devices, rounds, Path(place))
    growth = rows[-1]["rss_mb"] - rows[1]["rss_mb"]
    cpu = float(np.median([r["cpu_s"] for r in rows[1:]]))
    about = {"network": args.network, "devices": devices, "rounds": rounds, "rss_mb": rows[-1]["rss_mb"],
             "growth_mb": round(growth, 1), "cpu_s_a_round": cpu, "cpu_ms_a_device": round(1e3 * cpu / devices, 2),
             "down_mb_a_round": rows[-1]["down_mb"], "up_mb_a_round": rows[-1]["up_mb"]}  # fmt: skip
    table([about])
    if args.json:
        write("fleet_server", [about], args.json, key=("network", "devices"), rounds=rows)
    return 1 if growth > 5 else 0


if __name__ == "__main__":
    sys.exit(main())
