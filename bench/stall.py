"""What the carousel costs a training step when flash is slow: ResNet-20, batch 8, every replayed sample exchanged.

A third arm trains without a carousel while another process does nothing but such reads: what reading from that
device costs whoever asks for it (kernel threads of the loop device, interrupts).

The store lies on a loop device throttled by cgroup v1 blkio (20 MB/s and 500 operations a second unless told
otherwise: the class of an A1 card), and is larger than what is read during the bench, so that every read goes to
the device. Needs root. The run with the carousel and the one without take turns in one process.

    python bench/stall.py --json FILE [--mode live|exact] [--replay N] [--iops N] [--bps N] [--seconds S]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import arguments, median, quantile, table, write

from edgecl.planning.run_plan import prepare
from edgecl.run import Run

THROTTLE = Path("/sys/fs/cgroup/blkio")
SHAPE = (3, 32, 32)
PER_CLASS = 512  # samples of the stream; 4 classes, 2 tasks
READER = """
import os, random, sys
record = int(sys.argv[1])
files = [(os.open(p, os.O_RDONLY), os.path.getsize(p)) for p in sys.argv[2:]]
for fd, _ in files:
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
os.nice(10)
while True:
    fd, size = random.choice(files)
    os.pread(fd, record, random.randrange(size - record))
"""
TURN = 60  # steps
CREDIT = 0.1  # seconds of operations that an idle throttle lets through at once


@contextlib.contextmanager
def slow_disk(folder: Path, megabytes: int, bps: int, iops: int) -> Iterator[tuple[Path, Any]]:
    """(mount point, a function that switches the throttle on)."""
    image, mount = folder / "disk.img", folder / "disk"
    mount.mkdir()
    image.write_bytes(b"")
    os.truncate(image, megabytes << 20)

    def do(*command: str) -> str:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    loop = do("losetup", "-f", "--show", "--direct-io=on", str(image))
    number = Path(f"/sys/block/{Path(loop).name}/dev").read_text().strip()
    limits = {"read_bps": bps, "write_bps": bps, "read_iops": iops, "write_iops": iops}

    def throttle(on: bool) -> None:
        for kind, limit in limits.items():
            (THROTTLE / f"blkio.throttle.{kind}_device").write_text(f"{number} {limit if on else 0}")

    try:
        do("mkfs.ext4", "-q", "-F", loop)
        do("mount", loop, str(mount))
        try:
            yield mount, throttle
        finally:
            throttle(False)
            do("umount", str(mount))
    finally:
        do("losetup", "-d", loop)


def forget_cache(folder: Path) -> list[Path]:
    """Drop the store's files from the file cache; the segments."""
    os.sync()
    files = [p for p in folder.rglob("*") if p.is_file()]
    for path in files:
        fd = os.open(path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)
    return [p for p in files if p.suffix == ".seg"]


def capacity(segments: list[Path], record: int, seconds: float, rng: np.random.Generator) -> float:
    """Random reads of a record, one after the other: how many a second the device serves."""
    files = []
    for path in sorted(segments)[:-1]:  # the newest may have blocks that were never written
        fd = os.open(path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        files.append((fd, path.stat().st_size))
    n, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        fd, size = files[int(rng.integers(len(files)))]
        os.pread(fd, record, int(rng.integers(0, size - record)))
        n += 1
    spent = time.perf_counter() - began
    for fd, _ in files:
        os.close(fd)
    return n / spent


def stream(path: Path, rng: np.random.Generator) -> None:
    y = np.repeat(np.arange(4), PER_CLASS)
    x = rng.integers(0, 256, (len(y), *SHAPE)).astype(np.uint8)
    np.savez(path, x=x, y=y)


def job(folder: Path, o: argparse.Namespace, store: Path | None) -> Run:
    options: dict[str, Any] = {
        "stream": str(folder / "stream.npz"),
        "network": "resnet20",
        "method": "er",
        "sparsity": 0.9,
        "sparsity_policy": "static",
        "batch": 8,
        "replay_batch": o.replay,
        "memory": 200,
        "memory_policy": "balanced",
        "epochs": 1000,
        "threads": 1,
    }
    if store is not None:
        late = {"exact": "wait", "live": "drop"}[o.mode]
        options |= {"store": str(store), "gate": "all", "late_swaps": late, "latency": o.latency}
    return Run(prepare(options), "bench")


def measure(o: argparse.Namespace) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(dir=o.folder) as name:
        folder = Path(name)
        stream(folder / "stream.npz", rng)
        with slow_disk(folder, 6 * o.samples // 1000 + 200, o.bps, o.iops) as (disk, throttle):
            jobs = {"on": job(folder, o, disk / "store"), "off": job(folder, o, None)}
            with jobs["on"], jobs["off"]:
                return turns(o, jobs, disk, throttle, rng)


def turns(o: argparse.Namespace, jobs: dict[str, Run], disk: Path, throttle: Any, rng: Any) -> dict[str, Any]:
    jobs["on"].stored.begin()
    store = jobs["on"].core.parts.store
    assert store is not None
    loops = {}
    for arm, run in jobs.items():
        loop = run.begin_task()
        for _ in range(8):
            loop.advance()
        run.end_task()
        loops[arm] = run.begin_task()
    for _ in range(0, o.samples, 1000):
        store.append(rng.integers(0, 256, (1000, *SHAPE)).astype(np.uint8), rng.integers(0, 2, 1000))
    store.flush()
    segments = forget_cache(disk)
    throttle(True)
    served = capacity(segments, store.schema.sample_bytes + 24, 5.0, rng)
    forget_cache(disk)
    carousel = jobs["on"].core.parts.carousel
    assert carousel is not None
    for _ in range(TURN):
        loops["on"].advance()
    before = carousel.counters
    seconds: dict[str, list[float]] = {"on": [], "off": [], "reader": []}
    command = [sys.executable, "-c", READER, str(store.schema.sample_bytes + 24), *map(str, sorted(segments)[:-1])]
    reader = subprocess.Popen(command)
    reader.send_signal(signal.SIGSTOP)
    try:
        end = time.perf_counter() + o.seconds
        while time.perf_counter() < end:
            for arm in ("on", "off", "reader")[:: 1 if len(seconds["on"]) % 2 else -1]:
                if arm == "reader":
                    reader.send_signal(signal.SIGCONT)
                loop = loops["on" if arm == "on" else "off"]
                began = time.perf_counter()
                for _ in range(TURN):
                    loop.advance()
                seconds[arm].append(time.perf_counter() - began)
                reader.send_signal(signal.SIGSTOP)
    finally:
        reader.kill()
        reader.wait()
    after = carousel.counters
    did = {k: after[k] - before[k] for k in after}
    spent = sum(seconds["on"])
    ratios = [a / b for a, b in zip(seconds["on"], seconds["off"])]
    plain = [a / b for a, b in zip(seconds["reader"], seconds["off"])]
    asked = len(seconds["on"]) * TURN * o.replay
    possible = min(served * (spent + CREDIT * len(ratios)), asked)
    return {
        "net": "resnet20",
        "batch": 8,
        "replay": o.replay,
        "mode": o.mode,
        "latency": o.latency,
        "iops": o.iops,
        "bps": o.bps,
        "device_reads_per_s": served,
        "step_off_ms": median(seconds["off"]) / TURN * 1e3,
        "seconds_ratio_median": median(ratios),
        "seconds_ratio_iqr": quantile(ratios, 0.75) - quantile(ratios, 0.25),
        "reader_ratio_median": median(plain),
        "reader_ratio_iqr": quantile(plain, 0.75) - quantile(plain, 0.25),
        "stall_share": did["stall_seconds"] / spent,
        "replayed_per_s": asked / spent,
        "swaps_per_s": did["swaps_done"] / spent,
        "share_of_what_flash_can_serve": did["swaps_done"] / possible,
        "late": did["swaps_dropped"],
        "back_off": [entry[2].split()[1] for entry in carousel.log if entry[2].startswith("back-off")],
        "turns": len(ratios),
    }


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--mode", choices=("live", "exact"), default="live")
    parser.add_argument("--replay", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--latency", type=int, default=4, help="steps from request to exchange")
    parser.add_argument("--iops", type=int, default=500)
    parser.add_argument("--bps", type=int, default=20_000_000)
    parser.add_argument("--samples", type=int, default=40_000, help="records of 3 KB in the store")
    parser.add_argument("--seconds", type=float, default=20.0, help="of training, all arms together")
    parser.add_argument("--folder", help="where the disk image goes")
    o = parser.parse_args()
    if os.geteuid() != 0 or not (THROTTLE / "blkio.throttle.read_iops_device").exists():
        raise SystemExit("This bench throttles a loop device: it needs root and cgroup v1 blkio.")
    if o.quick:
        o.seconds = 8.0
    rows = []
    for replay in o.replay:
        rows.append(measure(argparse.Namespace(**{**vars(o), "replay": replay})))
        table(rows[-1:])
    write("stall", rows, o.json, key=("mode", "latency", "replay"))


if __name__ == "__main__":
    main()
