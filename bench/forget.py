"""How long `forget` takes for a subject of 100,000 samples, and whether anything of it is left in a file.

`store`: SampleStore.forget, once for each of three subjects whose samples came in turns of 256. `learner`:
Learner.forget with both saved states, one subject of two. `plaintext_in_files` looks for the forgotten samples in
every live file. With a root key a subject is unreadable once its key is dropped; without one the files are rewritten.

    python bench/forget.py [--quick] [--clear] [--json FILE] [--dir DIR]
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import arguments, median, table, write
from edgecl.storage import KeyFile, SampleStore, StreamSchema

from edgecl import Learner

SHAPE, TURN = (1, 28, 28), 256
TARGET = 1.0  # seconds, encrypted
Row = dict[str, Any]


def mark(subject: int) -> np.ndarray:
    return np.frombuffer(f"<subject {subject:06d}>".encode(), np.uint8)


def pictures(subject: int, n: int, rng: np.random.Generator) -> np.ndarray:
    x = rng.integers(0, 256, (n, *SHAPE), np.uint8)
    x.reshape(n, -1)[:, 100 : 100 + len(mark(subject))] = mark(subject)
    return x


def in_files(folder: Path, subject: int) -> bool:
    text = mark(subject).tobytes()
    return any(text in p.read_bytes() for p in folder.rglob("*") if p.is_file())


def key(place: Path, encrypted: bool) -> KeyFile | None:
    return KeyFile(place.with_suffix(".key")) if encrypted else None


def row(what: str, encrypted: bool, each: int, total: int, seconds: list[float], left: bool, holds: str) -> Row:
    return {
        "what": what, "encrypted": encrypted, "subject_samples": each, "samples": total,
        "payload": int(np.prod(SHAPE)), "seconds": median(seconds), "seconds_most": max(seconds), "n": len(seconds),
        "plaintext_in_files": left, "holds": holds,
    }  # fmt: skip


def of_store(place: Path, each: int, encrypted: bool) -> Row:
    rng, subjects, seconds, holds = np.random.default_rng(0), (1, 2, 3), [], ""
    with SampleStore(place, StreamSchema(SHAPE, "uint8"), root_key=key(place, encrypted)) as store:
        for at in range(0, each, TURN):
            for s in subjects:
                n = min(TURN, each - at)
                store.append(pictures(s, n, rng), np.arange(n) % 10, s)
        store.flush()
        left = False
        for s in subjects:
            began = time.perf_counter()
            receipt = store.forget(s)
            seconds.append(time.perf_counter() - began)
            assert len(receipt.ids) == each
            left |= in_files(place, s)
            holds = receipt.holds
    return row("store", encrypted, each, 3 * each, seconds, left, holds)


def of_learner(place: Path, each: int, encrypted: bool) -> Row:
    rng = np.random.default_rng(0)
    options = {"store": str(place / "s"), "path": place / "saved", "root_key": key(place, encrypted), "memory": 500}
    with Learner("mlp", input_shape=SHAPE, method="der++", **options) as ours:
        for at in range(0, each, TURN):
            for s in (1, 2):
                n = min(TURN, each - at)
                ours.observe(pictures(s, n, rng), (np.arange(n) % 10).tolist(), subject=s)
        ours.learn(steps=50)
        for _ in range(2):
            ours.save()
        began = time.perf_counter()
        receipt = ours.forget(1)
        seconds = time.perf_counter() - began
        assert len(receipt.ids) == each and receipt.slots and receipt.buffered == each
    return row("learner", encrypted, each, 2 * each, [seconds], in_files(place, 1), receipt.holds)


def main() -> None:
    parser = arguments(str(__doc__))
    parser.add_argument("--clear", action="store_true", help="without a root key, which has no target")
    parser.add_argument("--dir", metavar="DIR", help="where the stores are made (default: a temporary folder)")
    args = parser.parse_args()
    each = 10_000 if args.quick else 100_000
    rows = []
    for encrypted in (False,) if args.clear else (True,):
        for name, bench in (("store", of_store), ("learner", of_learner)):
            with tempfile.TemporaryDirectory(dir=args.dir) as place:
                rows.append(bench(Path(place) / name, each, encrypted))
    table(rows)
    if not args.clear:
        most = max(r["seconds_most"] for r in rows)
        print(f"target {TARGET:g} s with encryption: {'met' if most <= TARGET else 'missed'} ({most:.3f} s)")
    if args.json:
        write("forget", rows, args.json, key=("what", "encrypted", "subject_samples"))


if __name__ == "__main__":
    main()
