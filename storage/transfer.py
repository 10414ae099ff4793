"""Export and import: a store as plain safetensors files that any tool reads, and back, into any codec.

A file holds up to `SHARD_BYTES`: samples [N, *shape], ids int64, classes int32, subjects int32, times float64
(seconds), and for each field its values and widths; the schema is in its metadata. Fields of unequal width are
padded with zeros. The checksums of the files stand in export.json.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ._storage import crc32c
from .errors import BadRecord, CannotRead, StoreError, io_error
from .jsonfile import read_json, write_json
from .schema import StreamSchema
from .sets import distinct
from .store import SampleStore

SHARD_BYTES = 32 << 20
_SCHEMA, _CHECKSUMS, _UNFINISHED = "edgecl.stream", "export.json", "the rest"


def live_ids(store: SampleStore) -> np.ndarray:
    """All live ids, ascending."""
    ids = np.concatenate([np.zeros(0, np.int64), *(store.ids_of_class(c) for c in store.classes())])
    ids.sort()
    return ids


def export_store(store: SampleStore, to: str | os.PathLike[str]) -> dict[str, int]:
    """Writes every sound live sample to the new folder ``to``; {"samples", "files", "skipped"}."""
    folder = Path(to)
    try:
        return _export(store, folder)
    except (OSError, SafetensorError) as error:
        failed = error if isinstance(error, OSError) else OSError(errno.EIO, str(error))
        raise io_error(failed, f"The export to '{folder}' failed") from error


def _export(store: SampleStore, folder: Path) -> dict[str, int]:
    if folder.exists() and any(folder.iterdir()):
        raise BadRecord(f"'{folder}' is not empty.", "Export to a new folder.")
    folder.mkdir(parents=True, exist_ok=True)
    ids = live_ids(store)
    per = max(1, SHARD_BYTES // (store.schema.sample_bytes + sum(f.bytes for f in store.schema.fields.values()) + 32))
    done = 0
    checksums: dict[str, int] = {}
    write_json(folder / _CHECKSUMS, {_UNFINISHED: 0}, mode=None)  # until the end: what a crash leaves is no export
    for at in range(0, len(ids), per):
        part = ids[at : at + per]
        batch = store.read(part)
        ok = batch["ok"]
        if lost := store.unreadable.intersection(part[~ok].tolist()):
            raise CannotRead(f"The device does not give sample {min(lost)}.", "Check the device, and export again.")
        tensors = {name: np.ascontiguousarray(batch[name][ok]) for name in ("samples", "ids", "classes", "subjects")}
        tensors["times"] = np.ascontiguousarray(batch["times"][ok])
        for name, (values, widths) in batch["fields"].items():
            tensors[f"field.{name}"] = np.ascontiguousarray(values[ok])
            tensors[f"width.{name}"] = np.ascontiguousarray(widths[ok])
        path = folder / f"{len(checksums):06d}.safetensors"
        content = save(tensors, {_SCHEMA: store.schema.to_json()})
        with open(path, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        checksums[path.name] = crc32c(content)
        done += int(ok.sum())
    write_json(folder / _CHECKSUMS, checksums, mode=None)
    return {"samples": done, "files": len(checksums), "skipped": len(ids) - done}


def check_export(folder: str | os.PathLike[str]) -> None:
    """Every file against its checksum; one from before there were any has none. Raises `StoreError`."""
    listed = Path(folder) / _CHECKSUMS
    try:
        if not listed.exists():
            return
        checksums = read_json(listed)
        if not isinstance(checksums, dict):
            raise ValueError("it is of another kind")
        for name, expected in checksums.items():
            path = Path(folder) / name
            if Path(name).name != name or path.is_symlink():  # nothing outside the folder is read
                raise ValueError(f"it names '{name}'")
            if not path.is_file() or _checksum(path) != expected:
                raise StoreError(f"'{path}' is damaged or gone.", "Export again.")
    except ValueError as error:
        raise StoreError(f"'{listed}' is damaged ({error}).", "Export again.") from error
    except OSError as error:
        raise io_error(error, f"The export in '{folder}' cannot be read") from error


def _checksum(path: Path) -> int:
    crc = 0
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            crc = crc32c(part, crc)
    return crc


def _shards(folder: Path) -> Iterator[Path]:
    try:
        paths = sorted(folder.glob("*.safetensors"))
    except OSError as error:
        raise io_error(error, f"The export in '{folder}' cannot be read") from error
    if not paths:
        raise BadRecord(f"There is no export in '{folder}'.", "Give the folder that `store export` wrote.")
    yield from paths


def exported_schema(folder: str | os.PathLike[str]) -> StreamSchema:
    """The schema of an export, whose files are checked."""
    check_export(folder)
    path = next(_shards(Path(folder)))
    try:
        with safe_open(path, "np") as file:
            return StreamSchema.from_json((file.metadata() or {})[_SCHEMA])
    except OSError as error:
        raise io_error(error, f"'{path}' cannot be read") from error
    except (SafetensorError, KeyError, ValueError) as error:
        raise BadRecord(f"'{path}' is not a file of an export ({error}).", "Give the folder of an export.") from error


def import_store(store: SampleStore, folder: str | os.PathLike[str]) -> dict[str, int]:
    """Appends everything in an export, in its order, under new ids; {"samples", "files", "first_id"}."""
    if what := store.schema.difference(exported_schema(folder)):
        raise BadRecord(f"The export is of another stream: {what}.", "Import it into a store of its own.")
    first, done, files = store.next_id, 0, 0
    for path in _shards(Path(folder)):
        try:
            with safe_open(path, "np") as file:
                t = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            n = len(t["samples"])
            ticket = store.append(t["samples"], t["classes"], t["subjects"], t["times"])
            for name in store.schema.fields:
                put_field(store, name, ticket.ids, t[f"field.{name}"], t[f"width.{name}"])
        except OSError as error:
            raise io_error(error, f"'{path}' cannot be read") from error
        except StoreError:
            raise
        except (SafetensorError, KeyError, ValueError) as error:
            raise StoreError(f"'{path}' is damaged ({error}).", "Export again.") from error
        done, files = done + n, files + 1
    store.flush()
    return {"samples": done, "files": files, "first_id": first}


def put_field(store: SampleStore, name: str, ids: np.ndarray, values: np.ndarray, widths: np.ndarray) -> None:
    """Stores values [N, widest] of samples ``ids`` at their own widths [N]; width 0 is no value."""
    for width in distinct(widths[widths > 0]):
        rows = np.flatnonzero(widths == width)
        store.update_field(name, ids[rows], values[rows, :width])
