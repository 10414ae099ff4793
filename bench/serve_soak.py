"""A daemon under load for half an hour: does it grow, does it lose a request while its configuration is read again?

It learns of its own accord while clients ask for 200 predictions a second and bring two labelled samples a second, and
it is told to read its configuration again every ten seconds (SIGHUP). Resident set and open files are read each second;
growth is the median of the last minute less that of the minute after ``WARM_UP``. Samples cost what they cost: 40 bytes
each in the index of a task that does not end, and some 100 in the store's.

    python bench/serve_soak.py [--minutes 30] --json FILE
"""

from __future__ import annotations

import signal
import sys
import threading
import time

import psutil
from common import arguments, median, table, write

from edgecl.bench.serving import daemon, samples
from edgecl.errors import EdgeclError

WARM_UP = 5  # minutes
CLIENTS, RATE = 4, 200  # predictions a second, of all clients
RELOAD = 10.0  # seconds
MIB = 1 << 20


class Load:
    """Clients of a daemon until ``ended``: what was answered, and what failed."""

    def __init__(self, d) -> None:
        self.daemon, self.ended = d, threading.Event()
        self.answered, self.seconds, self.failures = 0, [], []
        self.threads = [threading.Thread(target=self._until_ended, args=(self._predict, CLIENTS / RATE))
                        for _ in range(CLIENTS)]  # fmt: skip
        self.threads.append(threading.Thread(target=self._until_ended, args=(self._observe, 0.5)))
        for t in self.threads:
            t.start()

    def _until_ended(self, work, pace: float) -> None:
        x, y = samples(64, seed=threading.get_native_id())
        turn = 0
        with self.daemon.client() as client:
            while not self.ended.is_set():
                began = time.perf_counter()
                try:
                    work(client, x, y, turn)
                    self.answered += 1
                except EdgeclError as error:
                    self.failures.append(str(error))
                took = time.perf_counter() - began
                self.seconds.append(took)
                del self.seconds[:-20_000]
                turn += 1
                time.sleep(max(0.0, pace - took))

    @staticmethod
    def _predict(client, x, y, turn: int) -> None:
        client.predict(x[turn % 64])

    @staticmethod
    def _observe(client, x, y, turn: int) -> None:
        client.observe(x[turn % 64], y[turn % 64])

    def close(self) -> None:
        self.ended.set()
        for t in self.threads:
            t.join()


def main() -> int:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    options = parser.parse_args()
    minutes = 1.0 if options.quick else options.minutes
    warm_up = min(WARM_UP, minutes / 3) * 60
    resident, files, reloads = [], [], 0
    with daemon("samples:64") as d:
        with d.client() as client:
            for _ in range(2):  # as many as the stream buffer holds in RAM
                client.observe(*samples(1024)).wait()
            client.learn(steps=20)
        process, load = psutil.Process(d.process.pid), Load(d)
        began = told = time.monotonic()
        while time.monotonic() - began < 60 * minutes:
            time.sleep(1.0)
            resident.append((time.monotonic() - began, process.memory_info().rss))
            files.append(process.num_fds())
            if time.monotonic() - told >= RELOAD:
                d.process.send_signal(signal.SIGHUP)
                told, reloads = time.monotonic(), reloads + 1
        load.close()
        with d.client() as client:
            steps = client.counters["steps"]
    span = min(60.0, warm_up)
    first = median([b for t, b in resident if warm_up <= t < warm_up + span])
    last = median([b for t, b in resident if t >= resident[-1][0] - span])
    settled = files[len(files) // 6 :]
    row = {
        "minutes": minutes, "answered": load.answered, "failures": len(load.failures), "reloads": reloads,
        "steps": steps, "p99_ms": 1e3 * sorted(load.seconds)[int(0.99 * len(load.seconds))],
        "resident_mib": last / MIB, "growth_mib": (last - first) / MIB, "files_first": median(settled[:60]),
        "files_last": median(settled[-60:]), "files_most": max(settled),
    }  # fmt: skip
    table([row])
    write("serve_soak", [row], options.json)
    for error in load.failures[:5]:
        print(error, file=sys.stderr)
    missed = load.failures or row["growth_mib"] > 1 or row["files_last"] > row["files_first"]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
