"""The sample store against its peers, and what a million samples cost in flash, RAM and time to open.

Every contender writes the same groups of 256 samples and reads the same batches of 32, taking turns within
one run. `durable` ends each group with a flush. Reads are random and warm; edgecl checks its checksums, the
others have none; `RAM` gathers the same rows from an array. Rates are totals over the run, seals included.
write_amplification is what the process handed to the block layer (/proc/self/io) per payload byte;
bytes_beyond are allocated blocks per sample less the payload. The million: bench/store_million.py.

    python bench/store.py [--quick] [--only writes,reads,...] [--json FILE] [--dir DIR]
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import arguments, median, table, write
from edgecl.storage import Carousel, EpisodicMemory, SampleStore, StreamSchema
from store_million import written
from store_peers import PEERS, Contender, LmdbKeys, Ours, Raw

GROUP, BATCH = 256, 32
Row = dict[str, Any]
MILLION = Path(__file__).with_name("store_million.py")


def fill(contenders: list[Contender], payload: int, groups: int) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Seconds of every group and bytes handed to the block layer, the contenders taking turns."""
    rng = np.random.default_rng(0)
    seconds: dict[str, list[float]] = {c.name: [] for c in contenders}
    handed: dict[str, int] = dict.fromkeys(seconds, 0)
    for g in range(groups):
        samples, classes = rng.integers(0, 256, (GROUP, payload), np.uint8), rng.integers(0, 10, GROUP)
        for c in np.random.default_rng(g).permutation(np.arange(len(contenders))):
            who = contenders[c]
            before, began = written(), time.perf_counter()
            who.write(g * GROUP, samples, classes)
            seconds[who.name].append(time.perf_counter() - began)
            handed[who.name] += written() - before
    return seconds, handed


def writes(place: Path, quick: bool) -> list[Row]:
    """Durable and batched groups; a file per sample is given a tenth of the groups."""
    rows: list[Row] = []
    payload, groups = 3072, 40 if quick else 240
    for durable in (True, False):
        seconds: dict[str, list[float]] = {}
        handed: dict[str, int] = {}
        for kinds, n in (((Ours, LmdbKeys, Raw), groups), (PEERS[3:], max(2, groups // 40))):
            all_ = [kind(place / kind.name, payload, durable) for kind in kinds]
            part, bytes_ = fill(all_, payload, n)
            seconds |= part
            handed |= bytes_
            for c in all_:
                c.close()
                shutil.rmtree(c.path)
        for name, each in seconds.items():
            n = len(each) * GROUP
            rows.append(
                {
                    "store": name,
                    "durability": f"durable, groups of {GROUP}" if durable else "batched",
                    "payload": payload,
                    "writes_per_s": n / sum(each),
                    "ours_against_it": 0.0,
                    "median_group_ms": median(each) * 1e3,
                    "ours_against_it_median": 0.0,
                    "write_amplification": handed[name] / (n * payload),
                    "n": n,
                }
            )
    for row in rows:
        ours = next(r for r in rows if r["store"] == "edgecl" and r["durability"] == row["durability"])
        row["ours_against_it"] = ours["writes_per_s"] / row["writes_per_s"]
        row["ours_against_it_median"] = row["median_group_ms"] / ours["median_group_ms"]
    return rows


def reads(place: Path, quick: bool) -> list[Row]:
    """Random batches of 32, warm, for three sizes; the files per sample hold a tenth of the samples."""
    rows: list[Row] = []
    for payload in (3072, 784, 96):
        groups, few = (40, 8) if quick else (160, 16)
        rng = np.random.default_rng(1)
        all_ = [kind(place / kind.name, payload, False) for kind in PEERS]
        ram = np.empty((groups * GROUP, payload), np.uint8)
        for g in range(groups):
            block = ram[g * GROUP : (g + 1) * GROUP]
            block[:] = rng.integers(0, 256, block.shape, np.uint8)
            for c in all_[: 3 if g >= few else None]:
                c.write(g * GROUP, block, rng.integers(0, 10, GROUP))
        for c in all_:
            c.read(rng.integers(0, few * GROUP, 4096))
        pulled: dict[str, list[float]] = {c.name: [] for c in all_} | {"RAM": []}
        for r in range(200 if quick else 1500):
            ids = rng.integers(0, groups * GROUP, BATCH)
            began = time.perf_counter()
            want = ram[ids]
            pulled["RAM"].append(time.perf_counter() - began)
            for c in all_[: 3 if r % 10 else None]:
                asked = ids % (few * GROUP) if c in all_[3:] else ids
                began = time.perf_counter()
                got = c.read(asked)
                pulled[c.name].append(time.perf_counter() - began)
                assert c in all_[3:] or (got == want).all()
        for name, each in pulled.items():
            rows.append({"store": name, "payload": payload, "reads_per_s": BATCH * len(each) / sum(each),
                         "reads_per_s_median": BATCH / median(each), "n": len(each)})  # fmt: skip
        for c in all_:
            c.close()
            shutil.rmtree(c.path)
    return rows


def overhead(place: Path, quick: bool) -> list[Row]:
    """Flash bytes beyond the payload, per sample."""
    rows: list[Row] = []
    n = 20_480 if quick else 102_400
    for payload in (3073, 784, 96):
        for kind in PEERS:
            count = 2048 if kind in PEERS[3:] else n
            c = kind(place / kind.name, payload, False)
            fill([c], payload, count // GROUP)
            c.close()
            rows.append({"store": c.name, "payload": payload, "bytes_beyond": c.flash_bytes() / count - payload,
                         "n": count})  # fmt: skip
            shutil.rmtree(c.path)
    return rows


def million(case: str, path: Path, payload: int, count: int) -> list[Row]:
    command = [sys.executable, "-P", str(MILLION), case, str(path), str(payload), str(count)]
    out = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return [row for line in out.splitlines() for row in json.loads(line)]


def amplification(place: Path, quick: bool) -> list[Row]:
    count = 50_000 if quick else 1_000_000
    return [row for payload in (784, 96) for row in million("amplification", place / "million", payload, count)]


def opening(place: Path, quick: bool) -> list[Row]:
    """Resident memory and time to open; the crash is a SIGKILL while a store of that size is written."""
    count, payload = (50_000, 784) if quick else (1_000_000, 784)
    path = place / "million"
    million("make", path, payload, count)
    rows = [row for case in ("clean open", "index rebuild") for row in million(case, path, payload, count)]
    command = [sys.executable, "-P", str(MILLION), "go on", str(path), str(payload), str(count)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    child.wait()
    rows += million("open after a crash", path, payload, count)
    shutil.rmtree(path)
    return rows


def hand_over(place: Path, quick: bool) -> list[Row]:
    """Microseconds of the training thread per step for one batch of 32 swaps: request and begin_step."""
    steps = 300 if quick else 3000
    rng = np.random.default_rng(0)
    schema = StreamSchema((784,))
    request, begin = [], []
    with SampleStore(place / "hand-over", schema) as store:
        samples, classes = rng.integers(0, 256, (20_000, 784), np.uint8), rng.integers(0, 10, 20_000)
        store.append(samples, classes)
        memory = EpisodicMemory(500, schema)
        memory.put_many(range(500), samples[:500], classes[:500], range(500))
        with Carousel(store, memory) as carousel:
            for step in range(steps):
                began = time.perf_counter()
                carousel.begin_step(step)
                begin.append(time.perf_counter() - began)
                slots = memory.draw(rng, BATCH)
                began = time.perf_counter()
                carousel.request(step, slots, rng)
                request.append(time.perf_counter() - began)
                time.sleep(0.001)  # the step
    return [
        {
            "swaps_per_step": BATCH,
            "request_us": median(request) * 1e6,
            "begin_step_us": median(begin) * 1e6,
            "n": steps,
        }
    ]


PARTS = {f.__name__: f for f in (writes, reads, overhead, amplification, opening, hand_over)}


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--dir", help="where to write (default: a temporary folder; use the device to be measured)")
    parser.add_argument("--only", help=f"comma-separated parts of: {', '.join(PARTS)}")
    parser.add_argument("--merge", action="store_true", help="keep the rows of other parts that the JSON file holds")
    options = parser.parse_args()
    rows: list[Row] = []
    for part in options.only.split(",") if options.only else PARTS:
        place = Path(tempfile.mkdtemp(dir=options.dir))
        try:
            own = [{"part": part, **row} for row in PARTS[part](place, options.quick)]
        finally:
            shutil.rmtree(place)
        for key in {tuple(r): None for r in own}:
            table([r for r in own if tuple(r) == key])
            print()
        rows += own
    if options.merge and options.json and os.path.exists(options.json):
        done = {r["part"] for r in rows}
        rows = [r for r in json.loads(Path(options.json).read_text())["rows"] if r["part"] not in done] + rows
    write("store", rows, options.json, ("lmdb", "torch"))


if __name__ == "__main__":
    sys.exit(main())
