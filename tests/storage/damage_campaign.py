"""Damage at every record boundary of a store's newest megabyte and in every page of its index, a store at a time.

Every case is opened in a child of its own batch, so that a signal shows. What must hold: the store opens, what is
served is right, what is lost had its bytes damaged and is listed by `verify` (a damaged index loses nothing), and the
store takes samples again.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from edgecl.storage import FieldSpec, KeyFile, SampleStore, StreamSchema, opening
from edgecl.storage.layout import HEADER_BYTES, Description, Header
from edgecl.storage.recovery import scan
from store_samples import logits_of, sample_of

NEWEST = 1 << 20  # bytes of segments that are damaged, from the end
BATCH = 50  # cases a child
PAGE = 4096
FLIPS = 16  # single bits of an index page, beside all bits of what describes it
N = 1200
SUBJECTS = 20
FORGOTTEN = 7


@dataclass(frozen=True)
class Kind:
    """A store's settings."""

    name: str
    codec: str = "raw"
    sealed: bool = False
    limit: int | None = None
    file_bytes: int = 1 << 18
    forgets: bool = False

    @property
    def schema(self) -> StreamSchema:
        return StreamSchema((1, 40, 40), "uint8", {"logits": FieldSpec("float16", 8)}, self.codec)

    def open(self, path: Path, **more: Any) -> SampleStore:
        opening.FILE_BYTES = self.file_bytes
        root = KeyFile(path.with_suffix(".key")) if self.sealed else None
        return SampleStore(path, self.schema, limit_samples=self.limit, root_key=root, **more)


KINDS = [
    Kind("raw"),
    Kind("raw, compacted", limit=2 * N // 3, file_bytes=1 << 16),
    Kind("raw, a subject forgotten", forgets=True),
    Kind("zstd", codec="zstd"),
    Kind("zstd, compacted", codec="zstd", limit=2 * N // 3, file_bytes=1 << 16),
    Kind("encrypted, a subject forgotten", sealed=True, forgets=True),
]
MANY = Kind("raw, many segments", file_bytes=1 << 13)  # whose index has branch pages
LIMITED = Kind("raw, many compacted segments", limit=N // 2, file_bytes=1 << 13, forgets=True)


@functools.cache
def all_samples(kind: Kind) -> np.ndarray:
    return sample_of(np.arange(N + 60), kind.schema)


def classes_of(ids: np.ndarray) -> np.ndarray:
    return np.where(ids % 7 < 4, 0, ids % 5 + 1)


def make(kind: Kind, path: Path) -> None:
    """A cleanly closed store."""
    rng = np.random.default_rng(0)
    with kind.open(path) as store:
        store.meta_set({"labels": rng.bytes(10_000), "who": b"me"})
        while store.next_id < N:
            ids = store.next_id + np.arange(100)
            fields = {"logits": logits_of(ids)}
            store.append(sample_of(ids, kind.schema), classes_of(ids), ids % SUBJECTS, ids, fields=fields)
        if kind.forgets:
            store.forget(FORGOTTEN)
        if kind.limit:
            store.compact()
        ids = store.next_id + np.arange(50)
        fields = {"logits": logits_of(ids)}
        store.append(sample_of(ids, kind.schema), classes_of(ids), ids % SUBJECTS, ids, fields=fields)


# ------------------------------------------------------------------ what is where
@dataclass
class Segment:
    """A segment file: where its records begin (and the last ends), and their ids."""

    path: Path
    starts: np.ndarray
    ids: np.ndarray

    def hit(self, at: int) -> set[int]:
        """Ids of the record that holds byte ``at``."""
        i = int(np.searchsorted(self.starts, at, side="right")) - 1
        return {int(self.ids[i])} if 0 <= i < len(self.ids) else set()

    def beyond(self, at: int) -> set[int]:
        """Ids of the records that end behind ``at``."""
        return {int(i) for i in self.ids[self.starts[1:] > at]}


def segments(path: Path) -> list[Segment]:
    description = Description.read(path)
    assert description is not None
    variable = description.codec.variable
    found = []
    for file in sorted((path / "segments").glob("*.seg")):
        fd = os.open(file, os.O_RDONLY)
        header = Header.read(fd)
        assert header is not None
        table, end, _ = scan(fd, file.stat().st_size, header, variable)
        os.close(fd)
        sound = table.ok.astype(bool)  # behind them stands the footer
        ids = header.first_id + table.rel[sound].astype(np.int64)
        if variable:
            starts = np.append(table.offsets[sound], end)
        else:
            starts = HEADER_BYTES + (24 + description.codec.stored) * np.arange(len(ids) + 1)
        found.append(Segment(file, starts, ids))
    return found


# ------------------------------------------------------------------ the cases
@dataclass
class Case:
    """``spoil`` the file ``name`` of a store; ``may_go``: ids that may be lost by it."""

    name: str
    what: str
    spoil: Callable[[Path], None]
    may_go: set[int]


def cut(at: int) -> Callable[[Path], None]:
    return lambda file: os.truncate(file, at)


def flip(*bits: int) -> Callable[[Path], None]:
    def spoil(file: Path) -> None:
        with open(file, "r+b") as f:
            for bit in bits:
                f.seek(bit // 8)
                value = f.read(1)[0] ^ 1 << bit % 8
                f.seek(bit // 8)
                f.write(bytes([value]))

    return spoil


def put(at: int, data: bytes) -> Callable[[Path], None]:
    def spoil(file: Path) -> None:
        with open(file, "r+b") as f:
            f.seek(at)
            f.write(data)

    return spoil


def of_segments(path: Path, rng: np.random.Generator) -> Iterator[Case]:
    """A cut, a bit before and a bit behind every record boundary of the newest megabyte, the fields' files too."""
    left = NEWEST
    for segment in reversed(segments(path)):
        size, name = segment.path.stat().st_size, f"segments/{segment.path.name}"
        for at in [*segment.starts[::-1].tolist(), 0]:
            if left - (size - at) < 0:
                return
            yield Case(name, f"cut at {at}", cut(at), segment.beyond(at))
            for byte in (at - 1, at):
                if 0 <= byte < size:
                    bit = 8 * byte + int(rng.integers(8))
                    yield Case(name, f"bit {bit}", flip(bit), segment.hit(byte))
        left -= size
        if left <= 0:
            return


def of_fields(path: Path, rng: np.random.Generator) -> Iterator[Case]:
    """The same of the files of field values; a sample stays when its value goes."""
    for file in sorted((path / "segments").glob("*.fld")):
        size, name = file.stat().st_size, f"segments/{file.name}"
        stride = (size - HEADER_BYTES) // ((size - HEADER_BYTES) // 40)
        for at in range(HEADER_BYTES, size, 4 * stride):
            yield Case(name, f"cut at {at}", cut(at), set())
            bit = 8 * at + int(rng.integers(8 * stride))
            yield Case(name, f"bit {bit}", flip(bit), set())


def of_index(path: Path, rng: np.random.Generator) -> Iterator[Case]:
    """Every bit of the meta pages' contents and of every page's header, others at random, pages lost or exchanged."""
    name = "index/data.mdb"
    data = (path / name).read_bytes()
    for page in range(len(data) // PAGE):
        at = page * PAGE
        yield Case(name, f"cut at {at}", cut(at), set())
        yield Case(name, f"cut at {at + PAGE // 2}", cut(at + PAGE // 2), set())
        yield Case(name, f"page {page} zero", put(at, bytes(PAGE)), set())
        yield Case(name, f"page {page} random", put(at, rng.bytes(PAGE)), set())
        other = PAGE * int(rng.integers(len(data) // PAGE))
        yield Case(name, f"page {page} is that at {other}", put(at, data[other : other + PAGE]), set())
        bits = [*range(8 * (152 if page < 2 else 16)), *rng.integers(0, 8 * PAGE, FLIPS).tolist()]
        used = [i for i in range(8 * 16, 8 * PAGE) if data[at + i // 8]]
        bits += rng.choice(used, min(len(used), FLIPS), replace=False).tolist() if used else []
        for bit in bits:
            yield Case(name, f"page {page} bit {bit}", flip(8 * at + bit), set())
        few = rng.integers(0, 8 * PAGE, 16).tolist()
        yield Case(name, f"page {page} bits {few}", flip(*(8 * at + b for b in few)), set())
    for bit in rng.integers(0, 8 * 256, 40).tolist():
        yield Case("index/lock.mdb", f"bit {bit}", flip(bit), set())


# ------------------------------------------------------------------ one case
def live_ids(store: SampleStore) -> set[int]:
    return {int(i) for c in store.classes() for i in store.ids_of_class(c)}


def judge(kind: Kind, path: Path, case: Case, before: set[int], exact: bool) -> str | None:
    """What is wrong with the store after the damage; None: nothing."""
    with kind.open(path) as store:
        damaged = store.verify()
        live = live_ids(store)
        ids = np.arange(N + 50)
        batch = store.read(ids)
        ok = batch["ok"]
        served = {int(i) for i in ids[ok]}
        if served != live:
            return f"live and not served: {sorted(live ^ served)[:5]}"
        if not (batch["samples"][ok] == all_samples(kind)[ids[ok]]).all():
            return "a wrong sample was served"
        right = (batch["classes"][ok] == classes_of(ids[ok])) & (batch["subjects"][ok] == ids[ok] % SUBJECTS)
        if not (right & (batch["times"][ok] == ids[ok])).all():
            return "a wrong label was served"
        values, widths = batch["fields"]["logits"]
        there = ok & (widths > 0)
        same = not there.any() or (values[there][:, :4] == logits_of(ids[there])).all()
        if not same or set(widths.tolist()) - {0, 4}:
            return "a wrong value was served"
        if kind.forgets and any(i < N and i % SUBJECTS == FORGOTTEN for i in served):
            return "a forgotten sample is served"
        lost = before - served
        if not lost <= case.may_go:
            return f"lost with sound bytes: {sorted(lost - case.may_go)[:5]} of {len(lost - case.may_go)}"
        named = {d.id for d in damaged if d.id is not None}
        if not lost <= named:
            return f"lost and not listed: {sorted(lost - named)[:5]} of {len(lost - named)}"
        if named - case.may_go:
            return f"listed with sound bytes: {sorted(named - case.may_go)[:5]}"
        if exact and served - before:
            return f"evicted and served: {sorted(served - before)[:5]}"
        if store.meta_get("who") != b"me" or len(store.meta_get("labels") or b"") != 10_000:
            return "a small value is lost"
        new = store.next_id + np.arange(3)
        store.append(all_samples(kind)[new], classes_of(new), new % SUBJECTS, new)
        if not store.read(new)["ok"].all():
            return "it takes no samples any more"
    return None


def child(kind: Kind, sound: Path, work: Path, cases: list[Case], before: set[int], out: int) -> None:
    """Never returns; reports ``number error`` of every case."""
    try:
        for number, case in enumerate(cases):
            path = work / "s"
            shutil.rmtree(path, ignore_errors=True)
            shutil.copytree(sound, path)
            if sound.with_suffix(".key").exists():
                shutil.copy(sound.with_suffix(".key"), work / "s.key")
            case.spoil(path / case.name)
            try:
                wrong = judge(kind, path, case, before, exact=not case.name.startswith("index"))
            except Exception as error:
                wrong = f"{type(error).__name__}: {error}"
            os.write(out, (json.dumps([number, wrong]) + "\n").encode())
    finally:
        os._exit(0)


def run(kind: Kind, place: Path, of: Callable[..., Iterator[Case]], seed: int, every: int = 1) -> tuple[Counter, list]:
    """All cases, or every n-th, of one store; counts and what was wrong."""
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    sound = place / "sound"
    pid = os.fork()  # this process never holds an index open, which its children could not have beside it
    if pid == 0:
        try:
            make(kind, sound)
            with kind.open(sound, read_only=True) as store:
                (place / "live.json").write_text(json.dumps(sorted(live_ids(store))))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    all_samples(kind)
    before = set(json.loads((place / "live.json").read_text()))
    cases = list(of(sound, np.random.default_rng(seed)))[seed % every :: every]
    at = 0
    while at < len(cases):
        part = cases[at : at + BATCH]
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read)
            child(kind, sound, place, part, before, write)
        os.close(write)
        with open(read) as file:
            reports = [json.loads(line) for line in file]
        status = os.waitpid(pid, 0)[1]
        wrong += [f"{kind.name}, {part[i].name}, {part[i].what}: {text}" for i, text in reports if text]
        at += len(reports)
        if len(reports) < len(part):
            name = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "it ended"
            wrong.append(f"{kind.name}, {part[len(reports)].name}, {part[len(reports)].what}: {name}")
            counts["processes that died"] += 1
            at += 1
    for case in cases:
        counts["cuts" if case.what.startswith("cut") else "bit flips" if "bit" in case.what else "pages replaced"] += 1
    counts["records whose bytes were damaged"] += sum(len(c.may_go) for c in cases)
    shutil.rmtree(place)
    return counts, wrong


PARTS: list[tuple[str, Callable[..., Iterator[Case]], list[Kind]]] = [
    ("record boundaries", of_segments, KINDS),
    ("field files", of_fields, [KINDS[0], KINDS[-1]]),
    ("index pages", of_index, [KINDS[0], MANY, LIMITED]),
]


def damage(place: Path, rounds: int, seed: int, stores: Collection[str] = ()) -> dict[str, Any]:
    """``rounds``: every how many-th case of each store is tried; 1 is all. stores: names of kinds; none: all."""
    began = time.perf_counter()
    row: dict[str, Any] = {"rounds": 0, "failures": []}
    for part, of, kinds in PARTS:
        for kind in kinds:
            if (stores and kind.name not in stores) or (kind.sealed and not _crypto()):
                continue
            folder = place / "damage"
            folder.mkdir()
            counts, wrong = run(kind, folder, of, seed, rounds)
            cases = counts["cuts"] + counts["bit flips"] + counts["pages replaced"]
            row[f"{part}: {kind.name}"] = cases
            row["rounds"] += cases
            row["failures"] += wrong
            for name, n in counts.items():
                row[name] = row.get(name, 0) + n
    return row | {"seconds": time.perf_counter() - began}


def _crypto() -> bool:
    try:
        import cryptography  # noqa: F401
    except ImportError:
        return False
    return True
