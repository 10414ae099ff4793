"""The child process of `numpy_probe`: prints its measurements as JSON."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from functools import partial

import lmdb  # noqa: F401 - the baseline is a process that has imported what edgecl needs
import numpy as np
import psutil
import safetensors  # noqa: F401

import edgecl  # noqa: F401

SECONDS = 0.4  # per measurement
SIDE = 512  # of the matrices: 3 MB, in cache, large enough for the product to run at full rate


def main() -> None:
    """argv: the number of cores, bytes of RAM, and ``full`` for threads between, and copies of many sizes."""
    cores, ram = int(sys.argv[1]), int(sys.argv[2])
    process = psutil.Process()
    baseline = process.memory_info().rss
    size = min(128 << 20, ram // 32)  # beyond the last cache where RAM allows
    flops, bandwidth = {}, {}
    for threads in range(1, cores + 1) if "full" in sys.argv else sorted({1, cores}):
        flops[threads] = _rate(threads, _products, 2.0 * SIDE**3, np.max)
        bandwidth[threads] = _rate(threads, partial(_copies, size // threads), 2.0 * (size // threads), np.median)
    sizes = {}
    if "full" in sys.argv:
        for exponent in range(18, size.bit_length(), 2):  # source and target together: the working set
            count = 2**exponent
            sizes[count] = _rate(1, partial(_copies, count // 2), count, np.median)
    print(json.dumps({"flops": flops, "bandwidth": bandwidth, "sizes": sizes, "baseline_rss_bytes": baseline}))


def _products() -> Callable[[], None]:
    a = np.ones((SIDE, SIDE), np.float32)
    b, out = a.copy(), a.copy()

    def product() -> None:
        np.matmul(a, b, out=out)

    return product


def _copies(size: int) -> Callable[[], None]:
    source = np.ones(size // 4, np.float32)
    target = source.copy()
    return lambda: np.copyto(target, source)


def _rate(threads: int, make: Callable[[], Callable[[], None]], work: float, rate: Callable) -> float:
    """Work per second of ``threads`` threads running side by side.

    ``rate`` of each thread's rounds: the best for arithmetic (neighbours only slow it), the median for
    memory, where one thread's best round is another's pause.
    """
    rounds: list[list[float]] = [[] for _ in range(threads)]
    start = threading.Barrier(threads)

    def run(place: int) -> None:
        operation = make()
        operation()
        start.wait()
        end = time.perf_counter() + SECONDS
        while (now := time.perf_counter()) < end:
            operation()
            rounds[place].append(work / (time.perf_counter() - now))

    workers = [threading.Thread(target=run, args=(i,)) for i in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return float(sum(rate(r) for r in rounds))
