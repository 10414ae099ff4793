"""The service under load: real daemons in processes of their own, each figure beside its control in the same run."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from ..child import python_command
from ..errors import EdgeclError
from ..service.client import Client
from .measure import quantile

SHAPE = (1, 28, 28)
LEARNER = 'input_shape = [1, 28, 28]\nnetwork = "cnn"\nsparsity = 0.9\nbatch = 16\nmethod = "er"\nmemory = 200\n'
BATCH = 64
MIB = 1 << 20


class Daemon:
    """`edgecl serve` of the small network in a folder of its own; ``ready``: seconds from its start to READY=1."""

    def __init__(self, folder: Path, when: str = "manual") -> None:
        self.folder = folder
        config = folder / "edgecl.toml"
        config.write_text(f'[learner]\n{LEARNER}[learn]\nwhen = "{when}"\nslice = "10s"\n')
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
            listening.bind(str(folder / "notify"))
            listening.settimeout(120)
            command = python_command("edgecl.__main__", "serve", "--config", str(config), "--state",
                                     str(folder / "state"), "--run", str(folder / "run"))  # fmt: skip
            environment = {**os.environ, "NOTIFY_SOCKET": str(folder / "notify")}
            began = time.perf_counter()
            with open(folder / "log", "wb") as log:
                self.process = subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL, env=environment)
            try:
                while b"READY=1" not in listening.recv(4096):
                    pass
            except TimeoutError:
                self.close()
                raise EdgeclError("The daemon did not become ready.", (folder / "log").read_text()[-500:]) from None
            self.ready = time.perf_counter() - began
        (folder / "notify").unlink()

    @property
    def address(self) -> str:
        return f"unix:{self.folder}/run/admin.sock"

    def client(self) -> Client:
        return Client(self.address)

    def resident(self) -> int:
        return psutil.Process(self.process.pid).memory_info().rss

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def daemon(when: str = "manual") -> Iterator[Daemon]:
    with tempfile.TemporaryDirectory(prefix="edgecl-bench-") as place:
        made = Daemon(Path(place), when)
        try:
            yield made
        finally:
            made.close()


def samples(count: int, seed: int = 0) -> tuple[np.ndarray, list[int]]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 255, (count, *SHAPE)).astype(np.uint8), (np.arange(count) % 10).tolist()


# -- cases: each returns figures, and what they must not exceed or fall below


def idle(rounds: int = 3) -> dict[str, Any]:
    """Resident set of an idle daemon, and of a process that has the same learner open and nothing else."""
    ours, alone = [], []
    for _ in range(rounds):
        with daemon() as d:
            time.sleep(1.0)
            ours.append(d.resident())
        alone.append(_learner_alone())
    over = sorted(a - b for a, b in zip(ours, alone))
    figures = {"resident_mib": _median(ours) / MIB, "learner_alone_mib": _median(alone) / MIB,
               "over_mib": _median(over) / MIB}  # fmt: skip
    return _case("idle", figures, {"over_mib": ("<=", 16.0), "resident_mib": ("<=", 64.0)})


def _learner_alone() -> int:
    job = "import sys, psutil\nfrom edgecl.learner import Learner\n" \
          "l = Learner('cnn', input_shape=(1, 28, 28), sparsity=0.9, batch=16, method='er', memory=200," \
          " path=sys.argv[1] + '/s', store=sys.argv[1] + '/t')\nl.save()\nprint(psutil.Process().memory_info().rss)\n" \
          "l.close()"  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="edgecl-bench-") as place:
        return int(subprocess.run([sys.executable, "-P", "-c", job, place], capture_output=True, text=True).stdout)


def start(stored: int = 0, rounds: int = 5) -> dict[str, Any]:
    """Seconds from exec to READY=1, and of this interpreter's own ``import edgecl.learner``, in turns. ``stored``:
    samples in the store that the daemon opens.
    """
    ours, imports = [], []
    with tempfile.TemporaryDirectory(prefix="edgecl-bench-") as place:
        if stored:
            _fill(Path(place), stored)
        for number in range(rounds):
            began = time.perf_counter()
            subprocess.run([sys.executable, "-P", "-c", "import edgecl.learner"], check=True)
            imports.append(time.perf_counter() - began)
            folder = Path(place) if stored else Path(place, str(number))
            folder.mkdir(exist_ok=True)
            d = Daemon(folder)
            d.close()
            ours.append(d.ready)
    over = sorted(a - b for a, b in zip(ours, imports))
    figures = {"stored": stored, "ready_seconds": _median(ours), "import_seconds": _median(imports),
               "over_seconds": _median(over)}  # fmt: skip
    return _case("start", figures, {"over_seconds": ("<=", 1.5 if stored else 0.5)})


def _fill(folder: Path, count: int) -> None:
    """A daemon's folder whose store holds ``count`` samples."""
    piece = 1000
    x, y = samples(piece)
    d = Daemon(folder)
    try:
        with d.client() as client:
            for _ in range(count // piece):
                client.observe(x, y)
            client.flush()
            client.save()
    finally:
        d.close()


def predict(clients: int, requests: int, learning: bool) -> dict[str, Any]:
    """Latencies of single predictions. With ``learning``: while it trains, beside the same daemon while a native
    thread of another process spins.
    """
    with daemon() as d, d.client() as client:
        client.observe(*samples(256)).wait()
        client.learn(steps=20)
        if not learning:
            found = _requests(d, clients, requests)
            least = 2000.0 if clients >= 8 else 0.0
            return _case("predict", found, {"failures": ("<=", 0), "per_second": (">=", least)})
        with _spinning():
            control = _requests(d, clients, requests)
        before = client.counters
        ended = threading.Event()
        trainer = threading.Thread(target=_keep_learning, args=(d, ended))
        trainer.start()
        found = _requests(d, clients, requests)
        ended.set()
        client.stop()
        trainer.join()
        steps = client.counters["steps"] - before["steps"]
        kept = _rate_kept(d, client)
    figures = {**found, "steps_meanwhile": steps, **{f"control_{k}": v for k, v in control.items()},
               "p99_over_control_ms": found["p99_ms"] - control["p99_ms"], "step_rate_kept": kept}  # fmt: skip
    targets = {"failures": ("<=", 0.0), "p99_over_control_ms": ("<=", 5.0), "step_rate_kept": (">=", 0.85)}
    return _case("predict while learning", figures, targets)


def _rate_kept(d: Daemon, client: Client, rounds: int = 6, seconds: float = 3.0) -> float:
    """Steps a second beside 100 predictions a second, over those of learning alone; in turns, the median of pairs."""
    ratios = []
    for number in range(rounds):
        rate = {}
        for beside in (number % 2 == 0, number % 2 == 1):
            asking = _clients(d, 1, int(seconds * 100), pace=0.01) if beside else []
            _begin(asking)
            log = client.learn(seconds=seconds)
            rate[beside] = log["steps"] / log["seconds"]
            for process in asking:
                process.communicate()
        ratios.append(rate[True] / rate[False])
    return _median(ratios)


def _keep_learning(d: Daemon, ended: threading.Event) -> None:
    with Client(d.address, timeout=120) as client:
        while not ended.is_set():
            client.learn(seconds=10)


@contextmanager
def _spinning() -> Iterator[None]:
    spin = "import hashlib\nwhile True: hashlib.pbkdf2_hmac('sha256', b'a', b'b', 10_000_000)"
    process = subprocess.Popen([sys.executable, "-c", spin])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _requests(d: Daemon, clients: int, requests: int) -> dict[str, float]:
    """So many requests of single samples, shared among client processes."""
    running = _clients(d, clients, requests // clients)
    began = time.perf_counter()
    _begin(running)
    answers = [json.loads(process.communicate()[0]) for process in running]
    took = time.perf_counter() - began
    seconds = sorted(s for a in answers for s in a["seconds"])
    if not seconds:
        raise EdgeclError("No request was answered.", "See the daemon's log.")
    return {
        "clients": clients, "requests": len(seconds), "failures": sum(a["failures"] for a in answers),
        "per_second": len(seconds) / took, "p50_ms": 1e3 * quantile(seconds, 0.5),
        "p99_ms": 1e3 * quantile(seconds, 0.99), "max_ms": 1e3 * seconds[-1],
    }  # fmt: skip


def _clients(d: Daemon, count: int, requests: int, pace: float = 0.0) -> list[subprocess.Popen[bytes]]:
    """So many client processes, connected and warm, that wait for `_begin` with so many requests each; see `main`."""
    job = json.dumps({"address": d.address, "requests": requests, "pace": pace})
    words = python_command("edgecl.bench.serving", job)
    running = [subprocess.Popen(words, stdout=subprocess.PIPE, stdin=subprocess.PIPE) for _ in range(count)]
    for process in running:
        assert process.stdout is not None
        process.stdout.readline()
    return running


def _begin(running: list[subprocess.Popen[bytes]]) -> None:
    for process in running:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()


def observe(requests: int) -> dict[str, Any]:
    """Labelled samples a second in batches of 64, and the time until they are on flash; control: append and fsync of
    the same bytes to a file in the same folder."""
    x, y = samples(BATCH)
    with daemon() as d, d.client() as client:
        client.observe(x, y).wait()
        began = time.perf_counter()
        for _ in range(requests):
            client.observe(x, y)
        client.flush()
        rate = BATCH * requests / (time.perf_counter() - began)
        waits, disk = [], []
        with open(d.folder / "control", "wb", buffering=0) as file:
            for _ in range(min(requests, 50)):
                began = time.perf_counter()
                client.observe(x[:1], y[:1]).wait()
                waits.append(time.perf_counter() - began)
                began = time.perf_counter()
                file.write(x[:1].tobytes())
                os.fsync(file.fileno())
                disk.append(time.perf_counter() - began)
    waits.sort()
    disk.sort()
    figures = {"samples_per_second": rate, "durable_p50_ms": 1e3 * quantile(waits, 0.5),
               "durable_p99_ms": 1e3 * quantile(waits, 0.99), "fsync_p50_ms": 1e3 * quantile(disk, 0.5),
               "fsync_p99_ms": 1e3 * quantile(disk, 0.99)}  # fmt: skip
    return _case("observe", figures, {"samples_per_second": (">=", 5000.0), "durable_p99_ms": ("<=", 60.0)})


def _median(values: list[Any]) -> float:
    return float(quantile(sorted(values), 0.5))


def _case(name: str, figures: dict[str, Any], targets: dict[str, tuple[str, float]]) -> dict[str, Any]:
    """A row: figures, targets, and those that were missed."""
    missed = [k for k, (sign, t) in targets.items() if not (figures[k] <= t if sign == "<=" else figures[k] >= t)]
    shown = {k: f"{sign} {t:g}" for k, (sign, t) in targets.items()}
    return {"case": name, **figures, "targets": shown, "missed": missed, "source": "measured"}


def main() -> int:
    """A client process. argv: {"address": ..., "requests": ..., "pace": seconds from one to the next}; begins with a
    line on stdin.
    """
    job = json.loads(sys.argv[1])
    x, _ = samples(64, seed=int.from_bytes(hashlib.sha256(str(os.getpid()).encode()).digest()[:4], "little"))
    seconds, failures = [], 0
    with Client(job["address"]) as client:
        for i in range(20):
            client.predict(x[i])
        print("warm", flush=True)
        sys.stdin.readline()
        for i in range(job["requests"]):
            began = time.perf_counter()
            try:
                client.predict(x[i % 64])
            except EdgeclError:
                failures += 1
            seconds.append(time.perf_counter() - began)
            time.sleep(max(0.0, job["pace"] - seconds[-1]))
    print(json.dumps({"seconds": seconds, "failures": failures}))
    return 0
