"""A user's own data, an .npz or a folder of class folders, converted once into the plain form."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from ..errors import BadInput, require
from .cache import DatasetWriter, PlainDataset, cache_folder, new_folder, open_dataset
from .child import run_in_child
from .datasets import last_part_of_each
from .limits import MOST_LETTERS, check_archive, check_pixels, check_size

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".pgm", ".ppm"}
TEST_FRACTION = 0.2  # of every class (of a task), the last in file order, where the data names no test part


def open_user_data(path: Path) -> PlainDataset:
    """The plain form of ``path``; converted when it is new or has changed (sizes and times of its files)."""
    path = path.resolve()
    if path.is_dir():
        job, files = "folder", [file for _, file in class_files(path)]
    elif path.suffix == ".npz":
        job, files = "npz", [path]
    else:
        raise BadInput(f"{path} is neither a folder of class folders nor an .npz file.", "Give one of the two.")
    state = [(str(file), (s := file.stat()).st_size, s.st_mtime_ns) for file in files]
    key = hashlib.sha256(json.dumps(state).encode()).hexdigest()[:16]
    target = cache_folder() / "user" / f"{path.stem}-{key}"
    found = open_dataset(target)
    if found is None:
        found = open_dataset(run_in_child(job, path=str(path), target=str(target)))
    assert found is not None
    return found


# --- npz ---------------------------------------------------------------------------------------------------


def convert_npz(path: Path, target: Path) -> Path:
    """The plain form of an .npz of plain arrays; objects are refused, nothing is ever unpickled.

    x : uint8 or float [n, C, H, W], [n, H, W] (grey) or [n, F]; y : ints or strings [n]
    task, subject : optional, ints [n]; test : optional, bool [n], default the last fifth of every class
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise BadInput(f"{path} is not an .npz file: {error}.", "Write it with numpy.savez.") from error
    with archive, new_folder(target) as out:
        check_archive(archive, path)
        names = {name.removesuffix(".npy") for name in archive.namelist()}
        if missing := {"x", "y"} - names:
            raise BadInput(
                f"{path} has no array '{sorted(missing)[0]}'; it has {', '.join(sorted(names)) or 'none'}.",
                "Name the samples x and the labels y: numpy.savez(file, x=..., y=...).",
            )
        y = _small_array(archive, "y", "iuU")
        n = y.size
        shape, dtype, blocks = _sample_blocks(archive, n)
        writer = DatasetWriter(out, shape, dtype)
        for block in blocks:
            writer.append(block)
        optional = {k: _small_array(archive, k, kinds) for k, kinds in
                    (("task", "iu"), ("subject", "iu"), ("test", "b")) if k in names}  # fmt: skip
        for name, array in optional.items():
            if array.size != n:
                raise BadInput(f"'{name}' has {array.size} entries, y has {n}.", "Give one per sample.")
        labels, units = _head_units(y)
        tasks = optional.get("task")
        groups = units if tasks is None else np.unique(np.stack([units, tasks]), axis=1, return_inverse=True)[1].ravel()
        test = optional["test"] if "test" in optional else last_part_of_each(groups, TEST_FRACTION)
        writer.finish(labels, units, test, optional.get("subject"), tasks, source=str(path))
    return target


def _head_units(y: np.ndarray) -> tuple[tuple[str | int, ...], np.ndarray]:
    values, units = np.unique(y, return_inverse=True)
    if values.size < 2:
        raise BadInput(f"All samples have the label {values.tolist()}.", "Give at least two classes.")
    return tuple(values.tolist()), units.ravel().astype(np.int32)


def _header(stream: IO[bytes], name: str) -> tuple[tuple[int, ...], np.dtype]:
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
    except (ValueError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise BadInput(f"The array '{name}' is damaged: {error}.", "Write it again with numpy.savez.") from error
    if dtype.hasobject:
        raise BadInput(
            f"The array '{name}' holds Python objects, which are never loaded.",
            "Save plain numbers or strings.",
        )
    if fortran and len(shape) > 1:
        raise BadInput(f"The array '{name}' is stored in Fortran order.", f"Save numpy.ascontiguousarray({name}).")
    return shape, dtype


def _small_array(archive: zipfile.ZipFile, name: str, kinds: str) -> np.ndarray:
    with archive.open(f"{name}.npy") as stream:
        shape, dtype = _header(stream, name)
        if len(shape) != 1 or not shape[0] or dtype.kind not in kinds:
            words = {"i": "integers", "U": "strings", "b": "booleans"}
            expected = " or ".join(words[k] for k in kinds if k in words)
            raise BadInput(f"The array '{name}' is {dtype} {shape}, expected {expected} [n].", "Give one per sample.")
        if dtype.itemsize > 4 * MOST_LETTERS:
            letters = dtype.itemsize // 4
            raise BadInput(f"'{name}' has texts of {letters} letters, the limit is {MOST_LETTERS}.", "Use short labels.")
        check_size(name, shape, dtype, archive.getinfo(f"{name}.npy").file_size - stream.tell())
        values = np.frombuffer(_exactly(stream, shape[0] * dtype.itemsize, name), dtype)
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


def _sample_blocks(archive: zipfile.ZipFile, n: int) -> tuple[tuple[int, int, int], str, Iterator[np.ndarray]]:
    """Shape (C, H, W), dtype and an iterator over blocks of the array x, read in pieces of about 4 MB."""
    with archive.open("x.npy") as stream:
        shape, dtype = _header(stream, "x")
        check_size("x", shape, dtype, archive.getinfo("x.npy").file_size - stream.tell())
    if len(shape) not in (2, 3, 4) or 0 in shape:
        raise BadInput(f"x has shape {shape}.", "Give [n, C, H, W], [n, H, W] for grey images, or [n, F].")
    if shape[0] != n:
        raise BadInput(f"x holds {shape[0]} samples, y {n} labels.", "Give one label per sample.")
    if len(shape) == 4 and shape[3] in (1, 3, 4) and shape[1] not in (1, 3, 4):
        raise BadInput(f"x has shape {shape}: channels seem to come last.", "Save x.transpose(0, 3, 1, 2).copy().")
    if dtype != np.uint8 and dtype.kind != "f":
        raise BadInput(f"x is {dtype}.", "Save x as uint8 (0..255) or float32.")
    target = "uint8" if dtype == np.uint8 else "float32"
    c, h, w = {4: shape[1:], 3: (1, *shape[1:]), 2: (*shape[1:], 1, 1)}[len(shape)]

    def blocks() -> Iterator[np.ndarray]:
        row = int(np.prod(shape[1:])) * dtype.itemsize
        per_block = max(1, (4 << 20) // row)
        with archive.open("x.npy") as stream:
            _header(stream, "x")
            for start in range(0, n, per_block):
                k = min(per_block, n - start)
                block = np.frombuffer(_exactly(stream, k * row, "x"), dtype).reshape(k, c, h, w)
                with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinity and is refused by index
                    yield block.astype(target, copy=False)
            _check_end(stream, "x")

    return (c, h, w), target, blocks()


# --- folder of class folders -------------------------------------------------------------------------------


def class_files(path: Path) -> list[tuple[str, Path]]:
    """(class name, file) of every image or .npy in the class folders of ``path``, sorted by name.

    ``path`` may hold the class folders, or ``train`` and ``test`` (or ``val``) with the class folders inside.
    """
    found = []
    for part in _parts(path):
        for folder in sorted(p for p in part.iterdir() if p.is_dir() and not p.name.startswith(".")):
            for file in sorted(folder.iterdir()):
                if file.suffix.lower() in IMAGE_SUFFIXES | {".npy"}:
                    found.append((folder.name, file))
    if not found:
        raise BadInput(
            f"{path} holds no class folders with images or .npy files.",
            "Put each class's files into a folder of its name.",
        )
    return found


def _parts(path: Path) -> list[Path]:
    if (path / "train").is_dir():
        for name in ("test", "val"):
            if (path / name).is_dir():
                return [path / "train", path / name]
    return [path]


def convert_folder(path: Path, target: Path) -> Path:
    """Every file becomes one sample with its folder's name as the label; all must have one size.

    Images are uint8, grey or RGB as the first one is; .npy files hold [C, H, W] or [H, W], uint8 or float.
    """
    files = class_files(path)
    with new_folder(target) as out:
        writer: DatasetWriter | None = None
        for _, file in files:
            sample = _load_sample(file, None if writer is None else writer.shape[0])
            if writer is None:
                writer = DatasetWriter(out, sample.shape, sample.dtype.name)
            if sample.shape != writer.shape or sample.dtype != writer.dtype:
                raise BadInput(
                    f"{file} is {sample.dtype} {sample.shape}, others are {writer.dtype} {writer.shape}.",
                    "Bring all samples to one size and type.",
                )
            try:
                writer.append(sample[None])
            except BadInput as error:
                raise BadInput(f"{file}: {error.cause}", error.remedy) from error
        assert writer is not None
        labels, units = _head_units(np.array([name for name, _ in files]))
        parts = _parts(path)
        if len(parts) == 2:
            test = np.array([parts[1] in file.parents for _, file in files])
        else:
            test = last_part_of_each(units, TEST_FRACTION)
        writer.finish(labels, units, test, source=str(path))
    return target


def _load_sample(file: Path, channels: int | None) -> np.ndarray:
    if file.suffix.lower() == ".npy":
        try:
            with open(file, "rb") as stream:
                header = _header(stream, file.name)
                check_size(str(file), *header, file.stat().st_size - stream.tell())
            sample = np.load(file, allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise BadInput(f"{file} cannot be read: {error}.", "Save plain numbers with numpy.save.") from error
        if sample.ndim == 2:
            sample = sample[None]
        if sample.ndim != 3 or (sample.dtype != np.uint8 and sample.dtype.kind != "f"):
            raise BadInput(f"{file} is {sample.dtype} {sample.shape}.", "Save uint8 or float32, [C, H, W] or [H, W].")
        return sample if sample.dtype == np.uint8 else sample.astype(np.float32)
    image_module = require("PIL.Image", "codecs")
    try:
        with image_module.open(file) as image:
            check_pixels(file, image.width, image.height)
            grey = channels == 1 if channels is not None else image.mode in ("1", "L", "I;16", "LA")
            pixels = np.asarray(image.convert("L" if grey else "RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise BadInput(f"{file} cannot be read as an image: {error}.", "Remove or repair it.") from error
    return pixels[None] if grey else np.ascontiguousarray(pixels.transpose(2, 0, 1))
