"""A user's own data, converted once into the plain form; .npz files are read here, other forms in `readers`."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import BadInput
from .axes import Layout, recognise
from .cache import DatasetWriter, PlainDataset, cache_folder, new_folder, open_dataset
from .child import job, run_in_child
from .complete import Origins, complete, whole_labels
from .gate import Gate
from .limits import MOST_LETTERS, check_archive, check_size
from .naming import split_of
from .options import Reading
from .padding import PaddingWatch

READER = 2  # of the conversion: another number, and data converted before is converted again


def open_user_data(path: Path, reading: Reading | None = None) -> PlainDataset:
    """The plain form of ``path``; converted when it, or how it is read, is new or has changed (sizes and times)."""
    path, reading = path.resolve(), reading or Reading()
    if (path / "meta.json").is_file() and (path / "samples.raw").is_file():
        found = open_dataset(path)
        if found is None:
            raise BadInput(f"{path} is of another version.", "Write it again.")
        return found
    convert, files = reader_of(path)
    state = [(str(file), (s := file.stat()).st_size, s.st_mtime_ns) for file in files]
    key = hashlib.sha256(json.dumps([READER, state, reading.to_json()]).encode()).hexdigest()[:16]
    target = cache_folder() / "user" / f"{path.stem}-{key}"
    found = open_dataset(target)
    if found is None:
        found = open_dataset(
            run_in_child(convert, path=str(path), target=str(target), reading=reading.to_json())
        )
    assert found is not None
    return found


def reader_of(path: Path) -> tuple[Any, list[Path]]:
    """The job that converts ``path``, and the files it reads."""
    if path.is_dir():
        from .readers.folder import convert_folder

        files = sorted(file for file in path.rglob("*") if file.is_file())
        return convert_folder, files
    if path.suffix.lower() == ".npz":
        return convert_npz, [path]
    if Path(path.name.removesuffix(".gz")).suffix.lower() in (".csv", ".tsv", ".parquet"):
        from .readers.tables import convert_table

        return convert_table, [path]
    raise BadInput(
        f"{path} is neither a folder of class folders, nor an .npz file, nor a table (.csv, .tsv, .parquet).",
        "Give one of them.",
    )


# --- npz ---------------------------------------------------------------------------------------------------


@job
def convert_npz(path: str | Path, target: str | Path, reading: Mapping[str, Any] | None = None) -> Path:
    """The plain form of an .npz of plain arrays; objects are refused, nothing is ever unpickled.

    x : numbers or bool, pictures [n, C, H, W], [n, H, W, C] or [n, H, W], windows [n, C, T] or [n, T, C], or rows
        [n, F]; y : ints or strings [n]. Or both in parts: x_train, y_train, x_test, y_test
    task, subject, domain, file : optional, ints or strings [n]; time : optional, numbers [n]
    test : optional, bool [n]; else `choose_test` chooses
    reading : `Reading.to_json`
    """
    path, read = Path(path), Reading.from_json(reading or {})
    gate = Gate(path.parent, read.skip_broken)
    gate.forms.add("arrays")
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise BadInput(f"{path} is not an .npz file: {error}.", "Write it with numpy.savez.") from error
    with archive, new_folder(Path(target)) as out:
        check_archive(archive, path)
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        parts = _parts(path, names)
        origins = Origins()
        writer: DatasetWriter | None = None
        for part, x_name, y_name in parts:
            labels = whole_labels(_small_array(archive, y_name), y_name)
            layout, dtype, blocks = _sample_blocks(archive, x_name, y_name, len(labels), read)
            if writer is None:
                writer = DatasetWriter(out, layout.shape, dtype, gate)
                gate.kind = layout.kind
                if layout.said is not None:
                    gate.note(layout.said)
            elif (writer.shape, writer.dtype) != (layout.shape, np.dtype(dtype)):
                raise BadInput(
                    f"{x_name} holds {dtype} {layout.shape}, {parts[0][1]} {writer.dtype} {writer.shape}.",
                    "Save all parts in one shape and type.",
                )
            for block in blocks:
                writer.append(block)
            origins.labels += labels
            origins.test += [part == "test"] * (len(labels) if part else 0)
        assert writer is not None
        used = {name for _, x, y in parts for name in (x, y)}
        used |= _read_groups(archive, set(names), origins)
        if unused := sorted(set(names) - used):
            gate.warn(f"Arrays not used: {', '.join(unused)}.")
        complete(writer, gate, origins, read, str(path))
    return Path(target)


X_NAMES = ("x", "X", "data", "images", "samples", "features")
Y_NAMES = ("y", "Y", "labels", "label", "target", "targets", "classes")


def _parts(path: Path, names: list[str]) -> list[tuple[str | None, str, str]]:
    """(part, array of samples, array of labels) by their names; a part is 'train', 'test', 'val' or None."""
    if masks := [name for name in names if name in ("mask", "masks", "length", "lengths")]:
        raise BadInput(
            f"{path} has the array '{masks[0]}': series filled up to one length, and masks are not supported.",
            "Give the series as they are, one .npy file each in a folder of its class.",
        )
    whole = [next((n for n in known if n in names), None) for known in (X_NAMES, Y_NAMES)]
    if whole[0] is not None and whole[1] is not None:
        return [(None, whole[0], whole[1])]
    found: dict[str, list[str | None]] = {}
    for name in names:
        words = name.split("_")
        part = next((s for s in map(split_of, words) if s is not None), None)
        rest = "_".join(w for w in words if split_of(w) is None)
        for place, known in enumerate((X_NAMES, Y_NAMES)):
            if part is not None and rest in known:
                found.setdefault(part, [None, None])[place] = name
    parts = [(part, x, y) for part in ("train", "val", "test") if None not in (pair := found.get(part, [None, None]))
             for x, y in [pair]]  # fmt: skip
    if any(part == "train" for part, _, _ in parts):
        parts = [p for p in parts if p[0] != "val" or not any(q[0] == "test" for q in parts)]
        return [("test" if part == "val" else part, str(x), str(y)) for part, x, y in parts]
    missing = "x" if whole[0] is None else "y"
    raise BadInput(
        f"{path} has no array '{missing}'; it has {', '.join(sorted(names)) or 'none'}.",
        "Name the samples x and the labels y: numpy.savez(file, x=..., y=...).",
    )


def _read_groups(archive: zipfile.ZipFile, names: set[str], origins: Origins) -> set[str]:
    """Fill ``origins`` from the optional arrays; their names."""
    n, used = len(origins.labels), set()
    for one, group in (("task", "tasks"), ("subject", "subjects"), ("domain", "domains"), ("file", "files"),
                       ("time", "times"), ("test", "test")):  # fmt: skip
        name = "files" if one == "file" and "files" in names else one  # numpy.savez has a parameter 'file' of its own
        if name not in names:
            continue
        array = _small_array(archive, name)
        kinds = {"test": "b", "times": "iuf"}.get(group, "iuU")
        if array.ndim != 1 or array.dtype.kind not in kinds:
            words = {"b": "booleans", "iuf": "numbers", "iuU": "integers or strings"}[kinds]
            raise BadInput(f"The array '{name}' is {array.dtype} {array.shape}, expected {words} [n].",
                           "Give one per sample.")  # fmt: skip
        if array.size != n:
            raise BadInput(f"'{name}' has {array.size} entries, y has {n}.", "Give one per sample.")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise BadInput(f"'{name}' holds NaN or infinity.", "Give a number for every sample.")
        setattr(origins, group, array.tolist())
        used.add(name)
    return used


def _header(stream: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether in Fortran order, and dtype."""
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
    except (ValueError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise BadInput(f"The array '{name}' is damaged: {error}.", "Write it again with numpy.savez.") from error
    if dtype.hasobject:
        raise BadInput(
            f"The array '{name}' holds Python objects, which are never loaded.",
            "Save plain numbers or strings. Series of different lengths: one .npy file each in a folder of its class.",
        )
    return shape, fortran and len(shape) > 1, dtype


def _small_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """An array that is held whole: labels, groups."""
    with archive.open(f"{name}.npy") as stream:
        shape, fortran, dtype = _header(stream, name)
        if dtype.itemsize > 4 * MOST_LETTERS:
            letters = dtype.itemsize // 4
            raise BadInput(f"'{name}' has texts of {letters} letters, the limit is {MOST_LETTERS}.", "Shorten them.")
        check_size(name, shape, dtype, archive.getinfo(f"{name}.npy").file_size - stream.tell())
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        values = np.frombuffer(_exactly(stream, size, name), dtype).reshape(shape, order="F" if fortran else "C")
        _check_end(stream, name)
        return values


def _exactly(stream: IO[bytes], size: int, name: str) -> bytes:
    try:
        data = stream.read(size)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise BadInput(f"The array '{name}' is damaged: {error}.", "Write it again with numpy.savez.") from error
    if len(data) != size:
        raise BadInput(f"The array '{name}' is cut short.", "Write it again with numpy.savez.")
    return data


def _check_end(stream: IO[bytes], name: str) -> None:
    """The member ends here and its checksum holds (zipfile checks it at the end only)."""
    try:
        more = stream.read(1)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise BadInput(f"The array '{name}' is damaged: {error}.", "Write it again with numpy.savez.") from error
    if more:
        raise BadInput(f"The array '{name}' is longer than it says.", "Write it again with numpy.savez.")


def _sample_blocks(
    archive: zipfile.ZipFile, name: str, labels: str, n: int, reading: Reading
) -> tuple[Layout, str, Iterator[np.ndarray]]:
    """Layout, dtype and an iterator over blocks [k, C, H, W] of the samples, read in pieces of about 4 MB."""
    with archive.open(f"{name}.npy") as stream:
        shape, _, dtype = _header(stream, name)
        check_size(name, shape, dtype, archive.getinfo(f"{name}.npy").file_size - stream.tell())
    if len(shape) < 2:
        raise BadInput(f"{name} has shape {shape}.", "Give pictures [n, C, H, W], windows [n, C, T] or rows [n, F].")
    if shape[0] != n:
        raise BadInput(f"{name} holds {shape[0]} samples, {labels} {n} labels.", "Give one label per sample.")
    if dtype.kind not in "iufb":
        cure = f"Save {name}.view('float').reshape(len({name}), -1)." if dtype.kind == "c" else "Save plain numbers."
        raise BadInput(f"{name} is {dtype}.", cure)
    layout = recognise(shape[1:], reading.axes, name, dtype.itemsize == 1)
    target = _target_type(archive, name, dtype)
    watch = PaddingWatch(layout.shape[2]) if layout.kind == "windows" and dtype.kind == "f" else None

    def blocks() -> Iterator[np.ndarray]:
        for block in _raw_blocks(archive, name):
            with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinity and is refused by index
                made = layout.apply(block).astype(target, copy=False)
            if watch is not None:
                watch.look(made)
            yield made
        if watch is not None:
            watch.refuse()

    return layout, target, blocks()


def _target_type(archive: zipfile.ZipFile, name: str, dtype: np.dtype) -> str:
    """uint8 for bool and for whole numbers that are all 0..255, else float32."""
    if dtype == np.uint8 or dtype.kind == "b":
        return "uint8"
    if dtype.kind == "f":
        return "float32"
    inside = all(int(block.min()) >= 0 and int(block.max()) <= 255 for block in _raw_blocks(archive, name))
    return "uint8" if inside else "float32"


def _raw_blocks(archive: zipfile.ZipFile, name: str) -> Iterator[np.ndarray]:
    """Blocks [k, ...] of an array as it is stored, in any memory order."""
    with archive.open(f"{name}.npy") as stream:
        shape, fortran, dtype = _header(stream, name)
        row = int(np.prod(shape[1:])) * dtype.itemsize
        per_block = max(1, (4 << 20) // row)
        if fortran:  # rows lie scattered: the file is unpacked first and looked into
            with tempfile.TemporaryFile(dir=cache_folder()) as file:
                try:
                    shutil.copyfileobj(stream, file, 4 << 20)
                except (zipfile.BadZipFile, zlib.error, EOFError) as error:
                    raise BadInput(f"The array '{name}' is damaged: {error}.", "Write it again.") from error
                if file.tell() != shape[0] * row:
                    raise BadInput(f"The array '{name}' is cut short.", "Write it again with numpy.savez.")
                whole = np.memmap(file, dtype, "r", shape=shape, order="F")
                for start in range(0, shape[0], per_block):
                    yield np.ascontiguousarray(whole[start : start + per_block])
            return
        for start in range(0, shape[0], per_block):
            k = min(per_block, shape[0] - start)
            yield np.frombuffer(_exactly(stream, k * row, name), dtype).reshape(k, *shape[1:])
        _check_end(stream, name)
