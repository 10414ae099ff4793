"""Files from elsewhere: every number of every file that is loaded set to what nobody expects, with checksums that
hold, and bytes changed at random. Each is loaded and used in a process of its own.

A number becomes -1, 0, its bound, its bound + 1 (bound: what it was), 2^31 - 1, 2^63 - 1. Wanted: a typed error, or a
store or learner that goes on; no death, no error without a type, no wait over `PATIENCE`, no growth over `MOST_GROWTH`.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shutil
import signal
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
from edgecl.storage import SampleStore, _storage, export_store, import_store
from edgecl.storage.amending import FILE as LOG
from edgecl.storage.errors import StoreError
from edgecl.storage.index import _COMMIT, _ENTRY, _seal
from edgecl.storage.wear import _SAVED
from store_samples import SCHEMA, logits_of, sample_of

PATIENCE = 5
WORKERS = 2
CHECKED = "libasan" in os.environ.get("LD_PRELOAD", "")  # .ci/sanitize: a report ends its process; RAM says nothing
MOST_GROWTH = 64 << 20
RANDOM = 50_000  # mutations of bytes in a whole campaign


def values(was: int) -> list[int]:
    return [-1, 0, was, was + 1, 2**31 - 1, 2**63 - 1]


@dataclass
class Format:
    """A kind of file: a sound example, its changes by name, and how it is used."""

    name: str
    make: Callable[[Path], None]
    changes: Callable[[Path], Iterator[tuple[str, Callable[[Path], None]]]]
    use: Callable[[Path], None]
    files: Callable[[Path], list[Path]]  # for changes of bytes


# --- a store -------------------------------------------------------------------------------------------------


def make_store(place: Path) -> None:
    from edgecl.storage import opening

    usual, opening.FILE_BYTES = opening.FILE_BYTES, 1 << 13
    try:
        with SampleStore(place / "s", SCHEMA, limit_samples=400) as store:
            for at in range(0, 500, 50):
                ids = at + np.arange(50)
                store.append(sample_of(ids), ids % 3, ids % 5, fields={"logits": logits_of(ids)})
            store.relabel([200, 300], 7)
            store.remove([250])
            store.forget(4)
            store.meta_set({"a": b"1"})
            store.name_classes(["a", 5, "b"], {2: 3})
    finally:
        opening.FILE_BYTES = usual


def use_store(place: Path) -> None:
    with SampleStore(place / "s", limit_samples=400) as store:
        n = min(store.next_id, 2000)
        store.read(np.arange(n))
        for cls in store.classes():
            store.ids_of_class(cls)
        store.kth_oldest(0)
        store.ids_of_subject(1)
        store.verify()
        if store.schema == SCHEMA and store.next_id < 2**31:
            ids = store.next_id + np.arange(60)
            store.append(sample_of(ids), 1, 2, fields={"logits": logits_of(ids)}).wait()
        store.compact()
        store.load(store.state())
        named = store.class_names()
        store.name_classes([*named.names, "c"], named.sole)


def json_changes(path: str) -> Callable[[Path], Iterator[tuple[str, Callable[[Path], None]]]]:
    def changes(place: Path) -> Iterator[tuple[str, Callable[[Path], None]]]:
        outer = json.loads((place / path).read_text())
        data = json.loads(outer["text"])
        for where, was in leaves(data):
            for value in values(was):
                yield f"{path} {where} = {value}", lambda p, w=where, v=value: _put_json(p / path, w, v)

    return changes


def json_numbers(path: str) -> Callable[[Path], Iterator[tuple[str, Callable[[Path], None]]]]:
    """Of a JSON file without a checksum."""

    def changed(place: Path, where: tuple[Any, ...], value: int) -> None:
        data = json.loads((place / path).read_text())
        put(data, where, value)
        (place / path).write_text(json.dumps(data))

    def changes(place: Path) -> Iterator[tuple[str, Callable[[Path], None]]]:
        for where, was in leaves(json.loads((place / path).read_text())):
            for value in values(was):
                yield f"{path} {where} = {value}", lambda p, w=where, v=value: changed(p, w, v)

    return changes


def leaves(data: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], int]]:
    if isinstance(data, dict):
        for key in data:
            yield from leaves(data[key], (*where, key))
    elif isinstance(data, list):
        for i, value in enumerate(data):
            yield from leaves(value, (*where, i))
    elif isinstance(data, (int, float)) and not isinstance(data, bool):
        yield where, int(data)


def put(data: Any, where: tuple[Any, ...], value: int) -> None:
    for key in where[:-1]:
        data = data[key]
    data[where[-1]] = value


def _put_json(path: Path, where: tuple[Any, ...], value: int) -> None:
    data = json.loads(json.loads(path.read_text())["text"])
    put(data, where, value)
    text = json.dumps(data)
    path.write_text(json.dumps({"text": text, "crc32c": _storage.crc32c(text.encode())}))


def segment_changes(place: Path) -> Iterator[tuple[str, Callable[[Path], None]]]:
    for path in sorted((place / "s" / "segments").iterdir()):
        name = f"s/segments/{path.name}"
        raw = path.read_bytes()
        for at, fmt in ((8, "<I"), (12, "<I"), (16, "<Q"), (24, "<I"), (28, "<I")):  # of the header
            was = struct.unpack_from(fmt, raw, at)[0]
            for value in values(was):
                yield f"{name} header {at} = {value}", lambda p, n=name, a=at, f=fmt, v=value: _header(p / n, a, f, v)
        seed = struct.unpack_from("<I", raw, 60)[0]
        if len(raw) < 128:
            continue
        head = {".seg": ((4, "<I"), (8, "<I"), (12, "<H"), (20, "<i")), ".fld": ((4, "<H"), (6, "<B"), (8, "<Q"))}
        for at, fmt in head[path.suffix]:
            was = struct.unpack_from(fmt, raw, 64 + at)[0]
            for value in values(was):
                args = (name, at, fmt, value, seed, path.suffix)
                yield f"{name} record {at} = {value}", lambda p, a=args: _record(p / a[0], *a[1:])
        if raw.endswith(b"EDGEFOOT"):
            for at in (0, 4, 8, 10):
                for value in values(struct.unpack_from("<I", raw, len(raw) - 16 - _foot(raw) + at)[0]):
                    args = (name, at, value, seed)
                    yield f"{name} footer {at} = {value}", lambda p, a=args: _footer(p / a[0], *a[1:])


def _foot(raw: bytes) -> int:
    return int(struct.unpack_from("<I", raw, len(raw) - 12)[0])


def _pack_at(raw: bytearray, fmt: str, at: int, value: int) -> None:
    bits = struct.calcsize(fmt) * 8
    struct.pack_into(fmt.upper(), raw, at, value & (2**bits - 1))


def _header(path: Path, at: int, fmt: str, value: int) -> None:
    raw = bytearray(path.read_bytes())
    _pack_at(raw, fmt, at, value)
    struct.pack_into("<I", raw, 60, _storage.crc32c(bytes(raw[:60])))
    path.write_bytes(raw)


def _record(path: Path, at: int, fmt: str, value: int, seed: int, suffix: str) -> None:
    raw = bytearray(path.read_bytes())
    _pack_at(raw, fmt, 64 + at, value)
    size = 24 if suffix == ".seg" else 16
    mask = 0xFFFFFF if suffix == ".seg" else 0xFFFF
    length = struct.unpack_from("<I", raw, 68)[0] & mask
    struct.pack_into("<I", raw, 64, _storage.crc32c(bytes(raw[68 : 64 + size + length]), seed))
    path.write_bytes(raw)


def _footer(path: Path, at: int, value: int, seed: int) -> None:
    raw = bytearray(path.read_bytes())
    start = len(raw) - 16 - _foot(raw)
    struct.pack_into("<I", raw, start + at, value & 0xFFFFFFFF)
    struct.pack_into("<I", raw, len(raw) - 16, _storage.crc32c(bytes(raw[start : len(raw) - 16]), seed))
    path.write_bytes(raw)


def log_changes(place: Path) -> Iterator[tuple[str, Callable[[Path], None]]]:
    for at, fmt in ((4, "<I"), (8, "<Q"), (16, "<q"), (32, "<i")):
        for value in values(1):
            yield f"changes.log {at} = {value}", lambda p, a=at, f=fmt, v=value: _log(p / "s" / LOG, a, f, v)


def _log(path: Path, at: int, fmt: str, value: int) -> None:
    raw = bytearray(path.read_bytes())
    seed = struct.unpack_from("<I", raw, 60)[0]
    _pack_at(raw, fmt, 64 + at, value)
    for end in range(72, len(raw) + 1, 8):  # wherever the batch ends now, its checksum holds
        if end in (64 + 40, len(raw)):
            struct.pack_into("<I", raw, 64, _storage.crc32c(bytes(raw[68:end]), seed))
    path.write_bytes(raw)


def index_changes(place: Path) -> Iterator[tuple[str, Callable[[Path], None]]]:
    with lmdb.open(str(place / "s" / "index"), readonly=True, lock=False) as env, env.begin() as txn:
        found = {bytes(k): bytes(v) for k, v in txn.cursor()}
    for key, value in found.items():
        layout = {b"c": _COMMIT, b"s": _ENTRY, b"w": _SAVED}.get(key[:1])
        if layout is None:
            continue
        for field, was in enumerate(layout.unpack_from(value)):
            for new in values(int(was)):
                args = (key, layout, field, new)
                yield f"index {key!r} {field} = {new}", lambda p, a=args: _index(p, *a)


def _index(place: Path, key: bytes, layout: struct.Struct, field: int, value: int) -> None:
    with lmdb.open(str(place / "s" / "index"), map_size=8 << 20) as env, env.begin(write=True) as txn:
        body = bytes(txn.get(key))[:-4]
        found = list(layout.unpack_from(body))
        kinds = "".join(kind * int(n or 1) for n, kind in re.findall(r"(\d*)([a-zA-Z])", layout.format))
        size = struct.calcsize("<" + kinds[field]) * 8
        value &= 2**size - 1
        found[field] = value - 2**size if kinds[field] in "qd" and value >= 2 ** (size - 1) else value
        body = layout.pack(*found) + body[layout.size :]
        txn.put(key, _seal(key, body))
        txn.put(b"t", _seal(b"t", struct.pack("<Q", txn.id())))


def store_changes(place: Path) -> Iterator[tuple[str, Callable[[Path], None]]]:
    for name in ("store.json", "forgotten.json"):
        yield from json_changes(f"s/{name}")(place)
    for name, change in json_changes("s/names.json")(place):  # both files alike
        yield name, lambda p, c=change: (c(p), shutil.copy(p / "s/names.json", p / "s/names-copy.json"))  # type: ignore
    yield from segment_changes(place)
    yield from log_changes(place)
    yield from index_changes(place)


# --- an export -----------------------------------------------------------------------------------------------


def make_export(place: Path) -> None:
    make_store(place)
    with SampleStore(place / "s") as store:
        export_store(store, place / "e")


def use_export(place: Path) -> None:
    shutil.rmtree(place / "t", ignore_errors=True)
    with SampleStore(place / "t", SCHEMA) as store:
        import_store(store, place / "e")


def export_changes(place: Path) -> Iterator[tuple[str, Callable[[Path], None]]]:
    path = next((place / "e").glob("*.safetensors"))
    raw = path.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    for where, was in leaves(header):
        for value in values(was):
            yield f"export {where} = {value}", lambda p, w=where, v=value: _export(p, w, v)


def _export(place: Path, where: tuple[Any, ...], value: int) -> None:
    path = next((place / "e").glob("*.safetensors"))
    raw = path.read_bytes()
    n = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + n])
    put(header, where, value)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + n :])
    (place / "e" / "export.json").unlink(missing_ok=True)


FORMATS = [
    Format("store", make_store, store_changes, use_store, lambda p: [f for f in (p / "s").rglob("*") if f.is_file()]),
    Format("export", make_export, export_changes, use_export, lambda p: sorted((p / "e").iterdir())),
]


def forged(place: Path, rounds: int, seed: int) -> dict[str, Any]:
    """One in ``rounds`` of the numbers and of the random mutations is tried."""
    from forged_more import MORE
    from forged_state import STATE

    began, rng = time.perf_counter(), np.random.default_rng(seed)
    counts: Counter[str] = Counter(dict.fromkeys(("points", "numbers", "died", "untyped", "hangs", "reports"), 0))
    failures: list[str] = []
    most = 0
    # Those that start a learner are slower: they get fewer of the random changes.
    shares = {"store": 30, "export": 15, "state": 1, "settings": 1, "network": 1, "encrypted learner": 1, "backup": 1}
    for fmt in [*FORMATS, STATE, *MORE]:
        sound = place / f"{fmt.name}-sound"
        sound.mkdir()
        fmt.make(sound)
        every = list(fmt.changes(sound))
        chosen = [every[i] for i in rng.permutation(len(every))[: -(-len(every) // rounds)]]
        counts["numbers"] += len(chosen)
        flips = RANDOM * shares[fmt.name] // sum(shares.values()) // rounds
        chosen += [(f"bytes {k}", _flip(fmt, int(rng.integers(2**63)))) for k in range(flips)]

        def tried(k: int, fmt: Format = fmt, chosen: Any = chosen, sound: Path = sound) -> tuple[int, str, int]:
            folder = place / f"case{k}"
            shutil.copytree(sound, folder)
            chosen[k][1](folder)
            found = try_in_child(fmt.use, folder)
            shutil.rmtree(folder)
            return found

        for k, (status, text, growth) in enumerate(_shared(tried, len(chosen))):
            if status == -signal.SIGALRM:
                status, text, growth = tried(k)  # alone: the clock also counts what others take of a busy machine
            name = chosen[k][0]
            counts["points"] += 1
            most = max(most, growth)
            bad = "hangs" if status == -signal.SIGALRM else "died" if status < 0 else "untyped" if status else ""
            counts[bad] += bool(bad)
            counts["reports"] += CHECKED and bad == "died"
            if bad or (growth > MOST_GROWTH and not CHECKED):
                failures.append(f"{fmt.name}, {name}: {bad or 'grew by'} {growth >> 20} MB {text}"[:400])
        shutil.rmtree(sound)
    del counts[""]
    return {**counts, "growth_bytes": most, "failures": failures[:60], "seconds": round(time.perf_counter() - began, 1)}


_work: Callable[[int], Any]


def _shared(work: Callable[[int], Any], n: int) -> list[Any]:
    """``work(k)`` for k below n, by `WORKERS` forked processes."""
    global _work
    _work = work
    with multiprocessing.get_context("fork").Pool(WORKERS) as pool:
        return pool.map(_do, range(n), chunksize=8)


def _do(k: int) -> Any:
    return _work(k)


def _flip(fmt: Format, seed: int) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        rng = np.random.default_rng(seed)
        path = fmt.files(folder)[int(rng.integers(len(fmt.files(folder))))]
        raw = bytearray(path.read_bytes())
        if not raw:
            return
        if rng.random() < 0.1:
            del raw[int(rng.integers(len(raw))) :]
        for _ in range(int(rng.integers(1, 9))):
            if raw:
                raw[int(rng.integers(len(raw)))] = int(rng.integers(256))
        path.write_bytes(raw)

    return change


def _hwm() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) << 10
    return 0


def try_in_child(use: Callable[[Path], None], folder: Path) -> tuple[int, str, int]:
    """How it ended (0: done or a typed error; 1: an error without a type), what it said, how much RAM it took."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        signal.alarm(PATIENCE)
        from edgecl.errors import EdgeclError

        Path("/proc/self/clear_refs").write_text("5")  # the mark is the parent's
        began, status, text = _hwm(), 0, ""
        try:
            use(folder)
        except (StoreError, EdgeclError):
            pass
        except BaseException as error:
            place = error.__traceback__
            while place is not None and place.tb_next is not None:
                place = place.tb_next
            where = "" if place is None else f"{Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}"
            status, text = 1, f"{error!r} at {where}"
        os.write(write, f"{_hwm() - began} {text}".encode()[:2000])
        os._exit(status)
    os.close(write)
    with open(read, errors="replace") as pipe:
        grown, _, text = pipe.read().partition(" ")
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text, int(grown or 0)
