"""The sample store against its peers: one .npy file per sample, one LMDB record per key, and a raw file.

Every contender writes the same groups of samples, taking turns; `durable` ends each group with a flush.
Reads are batches of 32 random samples, warm; edgecl checks its checksums, the others have none. `raw`
(write + fdatasync, and pread) is the ceiling, not a store: it knows neither class nor damage.
write_amplification is what the process handed to the block layer (/proc/self/io) per payload byte;
bytes_per_sample are allocated blocks.

    python bench/store.py [--quick] [--json FILE] [--dir DIR]
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import lmdb
import numpy as np
from common import arguments, median, table, write
from edgecl.storage import Carousel, EpisodicMemory, SampleStore, StreamSchema

GROUP, BATCH = 256, 32


class Contender:
    """write(first id, samples, classes) one group; read(ids) -> array [n, bytes]."""

    name = ""

    def __init__(self, path: Path, payload: int, durable: bool) -> None:
        self.path, self.payload, self.durable = path, payload, durable
        path.mkdir()

    def write(self, first: int, samples: np.ndarray, classes: np.ndarray) -> None:
        raise NotImplementedError

    def read(self, ids: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def close(self) -> None:
        pass

    def flash_bytes(self) -> int:
        return sum(f.stat().st_blocks * 512 for f in self.path.rglob("*") if f.is_file())


class Ours(Contender):
    name = "edgecl"

    def __init__(self, path: Path, payload: int, durable: bool) -> None:
        super().__init__(path, payload, durable)
        mode = "durable" if durable else "batched:1000"
        self.store = SampleStore(path, StreamSchema((payload,)), durability=mode)

    def write(self, first: int, samples: np.ndarray, classes: np.ndarray) -> None:
        ticket = self.store.append(samples, classes)
        if self.durable:
            ticket.wait()

    def read(self, ids: np.ndarray) -> np.ndarray:
        batch = self.store.read(ids)
        assert batch["ok"].all()
        return batch["samples"]

    def close(self) -> None:
        self.store.close()


class NpyFiles(Contender):
    name = "npy per file"

    def write(self, first: int, samples: np.ndarray, classes: np.ndarray) -> None:
        for i, row in enumerate(samples):
            with open(self.path / f"{first + i}.npy", "wb") as file:
                np.save(file, row)
                if self.durable:
                    file.flush()
                    os.fsync(file.fileno())
        if self.durable:
            fd = os.open(self.path, os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)

    def read(self, ids: np.ndarray) -> np.ndarray:
        return np.stack([np.load(self.path / f"{i}.npy") for i in ids.tolist()])


class LmdbKeys(Contender):
    name = "lmdb record per key"

    def __init__(self, path: Path, payload: int, durable: bool) -> None:
        super().__init__(path, payload, durable)
        self.env = lmdb.open(str(path), map_size=1 << 32, sync=durable, metasync=durable)

    def write(self, first: int, samples: np.ndarray, classes: np.ndarray) -> None:
        with self.env.begin(write=True) as txn:
            for i, row in enumerate(samples):
                key = (first + i).to_bytes(8, "big")
                txn.put(key, bytes([int(classes[i])]) + row.tobytes(), append=True)

    def read(self, ids: np.ndarray) -> np.ndarray:
        out = np.empty((len(ids), self.payload), np.uint8)
        with self.env.begin(buffers=True) as txn:
            for i, id_ in enumerate(ids.tolist()):
                out[i] = np.frombuffer(txn.get(id_.to_bytes(8, "big")), np.uint8)[1:]
        return out

    def close(self) -> None:
        self.env.sync(True)
        self.env.close()


class Raw(Contender):
    name = "raw file (ceiling)"

    def __init__(self, path: Path, payload: int, durable: bool) -> None:
        super().__init__(path, payload, durable)
        self.fd = os.open(path / "data", os.O_RDWR | os.O_CREAT)

    def write(self, first: int, samples: np.ndarray, classes: np.ndarray) -> None:
        os.pwrite(self.fd, samples, first * self.payload)
        if self.durable:
            os.fdatasync(self.fd)

    def read(self, ids: np.ndarray) -> np.ndarray:
        out = np.empty((len(ids), self.payload), np.uint8)
        for i, id_ in enumerate(ids.tolist()):
            os.preadv(self.fd, [out[i]], id_ * self.payload)
        return out

    def close(self) -> None:
        os.close(self.fd)


def written() -> int:
    """Bytes this process caused to be sent to the block layer."""
    for line in Path("/proc/self/io").read_text().splitlines():
        if line.startswith("write_bytes:"):
            return int(line.split()[1])
    return 0


def measure(place: Path, payload: int, durable: bool, groups: int, reads: int) -> list[dict[str, object]]:
    rng = np.random.default_rng(0)
    kinds = (Ours, NpyFiles, LmdbKeys, Raw)
    all_ = [kind(place / f"{kind.name}-{payload}-{durable}", payload, durable) for kind in kinds]
    seconds: dict[str, list[float]] = {c.name: [] for c in all_}
    handed: dict[str, int] = dict.fromkeys(seconds, 0)
    for g in range(groups):
        samples = rng.integers(0, 256, (GROUP, payload), np.uint8)
        classes = rng.integers(0, 10, GROUP)
        for c in all_:
            before, began = written(), time.perf_counter()
            c.write(g * GROUP, samples, classes)
            seconds[c.name].append(time.perf_counter() - began)
            handed[c.name] += written() - before
    for c in all_:
        c.read(rng.integers(0, groups * GROUP, 4096))
    pulled: dict[str, list[float]] = {c.name: [] for c in all_}
    for _ in range(reads):
        ids = rng.integers(0, groups * GROUP, BATCH)
        rows = []
        for c in all_:
            began = time.perf_counter()
            rows.append(c.read(ids))
            pulled[c.name].append(time.perf_counter() - began)
        assert all((r == rows[0]).all() for r in rows)
    out: list[dict[str, object]] = []
    for c in all_:
        c.close()
        n = groups * GROUP
        out.append(
            {
                "store": c.name,
                "durability": f"durable, groups of {GROUP}" if durable else "batched",
                "payload": payload,
                "writes_per_s": GROUP / median(seconds[c.name]),
                "reads_per_s": BATCH / median(pulled[c.name]),
                "bytes_per_sample": c.flash_bytes() / n,
                "write_amplification": handed[c.name] / (n * payload),
                "n": n,
            }
        )
        shutil.rmtree(c.path)
    return out


def hand_over(place: Path, steps: int) -> dict[str, object]:
    """Microseconds of the training thread per step for one batch of 32 swaps: request and begin_step."""
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
    return {
        "swaps_per_step": BATCH,
        "request_us": median(request) * 1e6,
        "begin_step_us": median(begin) * 1e6,
        "n": steps,
    }


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument(
        "--dir", help="where to write (default: a temporary folder; use the device to be measured)"
    )
    options = parser.parse_args()
    groups, reads = (12, 150) if options.quick else (80, 1500)
    place = Path(tempfile.mkdtemp(dir=options.dir))
    try:
        rows = [
            row
            for payload in (3072, 784)
            for durable in (True, False)
            for row in measure(place, payload, durable, groups, reads)
        ]
        swap = hand_over(place, 300 if options.quick else 3000)
    finally:
        shutil.rmtree(place)
    table(rows)
    print()
    table([swap])
    write("store", rows, options.json, ("lmdb",), carousel_hand_over=swap)


if __name__ == "__main__":
    sys.exit(main())
