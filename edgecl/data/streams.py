"""Streams: a data set cut into tasks, in a fixed order of classes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BadInput, unknown_name
from ..registry import Registry
from . import inertial, keywords  # noqa: F401 - register the data sets hapt and keywords
from .cache import PlainDataset, open_dataset
from .child import run_in_child
from .cut import Cut, cut, split_by_classes, split_by_subjects
from .datasets import DATASETS, dataset_folder, get_dataset, load_dataset
from .glyphs import split_by_script
from .options import Cutting, Reading
from .peers import FASHION20K_SHA256, MNIST5K_SHA256, fashion20k_split, mnist5k_split, peers_tasks
from .source import SampleSource
from .split import last_part_of_each
from .suited import IMAGE_DEFAULTS, SIGNAL_DEFAULTS, enough_epochs, suited


@dataclass(frozen=True)
class Task:
    """One task: ``classes`` are the head units it trains and tests; the sources' labels are head units."""

    index: int
    name: str
    classes: tuple[int, ...]
    train: SampleSource
    test: SampleSource


@dataclass(frozen=True)
class Stream:
    """Tasks in order over one sample shape and one head.

    input_shape : (C, H, W); signals are (C, 1, T). input_dtype : 'uint8' or 'float32'
    labels : the user's label of head unit k, in natural order
    mean, std : per channel, raw units, of the training part (for the graph's first node)
    kind : 'image', 'signal' or 'features'
    defaults : run options that suit this stream
    about : of a user's own data, what was understood ('line'), 'left_out' and 'warnings'; 'cut': how it became tasks
    """

    name: str
    input_shape: tuple[int, ...]
    input_dtype: str
    labels: tuple[str | int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    kind: str
    tasks: tuple[Task, ...]
    defaults: dict[str, Any] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def class_count(self) -> int:
        return len(self.labels)

    @property
    def sample_bytes(self) -> int:
        return int(np.prod(self.input_shape)) * np.dtype(self.input_dtype).itemsize

    @property
    def train_size(self) -> int:
        return sum(len(task.train) for task in self.tasks)

    @property
    def test_size(self) -> int:
        return sum(len(task.test) for task in self.tasks)

    @property
    def identity(self) -> str:
        """12 hex digits over name, shape, dtype and labels: tells a store of another stream apart."""
        about = json.dumps([self.name, self.input_shape, self.input_dtype, self.labels])
        return hashlib.sha256(about.encode()).hexdigest()[:12]

    def close(self) -> None:
        """Close the sample file."""
        for task in self.tasks:
            task.train.close()
            task.test.close()


@dataclass(frozen=True)
class StreamSpec:
    """A registered stream: ``cut`` turns its data set into tasks.

    scale : (mean, std) of every channel for the graph's first node; None: the data's own
    """

    name: str
    dataset: str
    summary: str
    kind: str
    task_count: int
    input_shape: tuple[int, int, int]
    train_size: int
    test_size: int
    cut: Callable[[PlainDataset], list[Cut]]
    defaults: dict[str, Any]
    scale: tuple[float, float] | None = None


# 1,297 classes of 10 to 15 samples: chosen on the last fifth of each; with `IMAGE_DEFAULTS` hardly anything is learnt
GLYPH_DEFAULTS: dict[str, Any] = {
    **IMAGE_DEFAULTS, "network": "mlp", "epochs": 4, "batch": 16, "replay_batch": 32, "lr": 0.3,
    "lr_schedule": "cosine", "memory": 1297, "memory_policy": "balanced",
}  # fmt: skip
STREAMS: Registry[StreamSpec] = Registry("stream", "edgecl.streams")
register = STREAMS.register


register(
    StreamSpec(
        "split-mnist5k", "mnist5k", "digits 0/1 to 8/9, 5 tasks of 2 classes, 800 training images each",
        "image",
        5, (1, 28, 28), 4000, 1000, split_by_classes(2), {**IMAGE_DEFAULTS},
    )
)  # fmt: skip
register(
    StreamSpec(
        "split-fashion", "fashion", "Fashion-MNIST, 5 tasks of 2 classes, 12000 training images each",
        "image",
        5, (1, 28, 28), 60000, 10000, split_by_classes(2), {**IMAGE_DEFAULTS},
    )
)  # fmt: skip
register(
    StreamSpec(
        "split-digits", "digits", "8x8 digits, 5 tasks of 2 classes, about 290 training images each", "image",
        5, (1, 8, 8), 1438, 359, split_by_classes(2), {**IMAGE_DEFAULTS, "network": "mlp"},
    )
)  # fmt: skip


register(
    StreamSpec(
        "hapt-activities", "hapt", "inertial signals, 3 tasks of 2 activities, tested on unseen subjects",
        "signal", 3, (6, 1, 128), 8097, 2314, split_by_classes(2), {**SIGNAL_DEFAULTS},
    )
)  # fmt: skip
register(
    StreamSpec(
        "hapt-subjects", "hapt", "inertial signals, 24 subjects one after another, tested on 6 unseen ones",
        "signal", 24, (6, 1, 128), 8097, 24 * 2314, split_by_subjects, {**SIGNAL_DEFAULTS},
    )
)  # fmt: skip
register(
    StreamSpec(
        "keywords", "keywords", "SYNTHETIC speech, 10 tasks of 3 spoken words, tested on unseen prosodies", "signal",
        10, (10, 1, 49), 5760, 1920, split_by_classes(3), {**SIGNAL_DEFAULTS},
    )
)  # fmt: skip
register(
    StreamSpec(
        "noto-glyphs", "noto", "letters of 23 scripts, a script a task, tested on an unseen face", "image",
        23, (1, 32, 32), 18955, 3891, split_by_script, GLYPH_DEFAULTS,
    )
)  # fmt: skip

PEERS_DEFAULTS: dict[str, Any] = {**IMAGE_DEFAULTS, "network": "cnn221", "epochs": 5, "lr": 0.03, "memory": 500}
register(
    StreamSpec(
        "split-mnist5k-peers", "mnist5k", "the digits as others' code was measured on: 400 training images a class",
        "image", 5, (1, 28, 28), 4000, 1000, peers_tasks(mnist5k_split, MNIST5K_SHA256), PEERS_DEFAULTS, (0.0, 255.0),
    )
)  # fmt: skip
register(
    StreamSpec(
        "fashion20k-peers", "fashion", "Fashion-MNIST as others' code was measured on: 2000 training images a class",
        "image", 5, (1, 28, 28), 20000, 10000, peers_tasks(fashion20k_split, FASHION20K_SHA256), PEERS_DEFAULTS,
        (0.0, 255.0),
    )
)  # fmt: skip


def load_stream(
    name_or_path: str | Path,
    limit_train: int | None = None,
    validation: float | None = None,
    fetch: bool = True,
    limit_tasks: int | None = None,
    reading: Reading | None = None,
    cutting: Cutting | None = None,
) -> Stream:
    """A registered stream, or a user's own data: a folder, an .npz file, a table.

    limit_train : training samples in all, shared equally by the classes of all tasks; the first in file order
    validation : fraction in (0, 1); the last part of every class's training samples replaces the test set
        (tuning never sees the test set)
    fetch : download a missing data set into the cache folder
    limit_tasks : only the first so many tasks; classes of the others stay units of the head
    reading : how a user's own data is read; cutting : how it, or a registered stream's data, becomes tasks

    Raises BadInput for an unknown name, unusable data or fractions; FetchError's cause when a download fails.
    """
    if limit_train is not None and (
        isinstance(limit_train, bool) or int(limit_train) != limit_train or limit_train < 1
    ):
        raise BadInput(f"limit_train is {limit_train}.", "Give a whole number of samples, at least one.")
    if validation is not None and not 0 < validation < 1:
        raise BadInput(f"validation is {validation}.", "Give a fraction between 0 and 1, such as 0.1.")
    name = str(name_or_path)
    cutting = cutting or Cutting()
    own = False  # data of the user's
    if name in dict(STREAMS.loaded()) or (name in STREAMS and not Path(name).exists()):
        spec = STREAMS.get(name)
        if reading is not None and (given := [k for k, v in reading.to_json().items() if v not in (None, False)]):
            flag = "--" + given[0].replace("_", "-")
            raise BadInput(f"'{name}' is read in one way: {flag} is for data of your own.", f"Drop {flag}.")
        data = load_dataset(spec.dataset, fetch)
        kind, defaults, about = spec.kind, spec.defaults, {}
        if spec.scale is not None:
            data = replace(data, mean=(spec.scale[0],) * len(data.mean), std=(spec.scale[1],) * len(data.std))
        if cutting.given:
            cuts, about["cut"] = cut(data, cutting)
        else:
            cuts = spec.cut(data)
    elif Path(name).exists():
        from .user import open_user_data  # here: its zip reader costs 2 MB of resident set

        data = open_user_data(Path(name), reading)
        cuts, said = cut(data, cutting)
        kind, defaults = suited(data)
        own = True
        about = {**data.about.get("gate", {}), "cut": f"{said}; {data.about.get('split', '')}".strip("; ")}
        name = Path(name).name
    elif "/" in name or Path(name).suffix:
        raise BadInput(f"There is no file or folder '{name}'.", "Check the path, or see 'edgecl data list' for names.")
    else:
        raise unknown_name("stream", name, STREAMS)
    found = _assemble(name, data, cuts[:limit_tasks], kind, defaults, limit_train, validation, about)
    if own:
        found.defaults["epochs"] = enough_epochs([len(task.train) for task in found.tasks])
    return found


def _assemble(
    name: str,
    data: PlainDataset,
    cuts: list[Cut],
    kind: str,
    defaults: dict[str, Any],
    limit_train: int | None,
    validation: float | None,
    about: dict[str, Any],
) -> Stream:
    units = data.samples.labels
    groups = sum(len(classes) for _, classes, _, _ in cuts)
    tasks = []
    for index, (title, classes, train, test) in enumerate(cuts):
        if limit_train is not None:
            share = limit_train // groups
            if share < 1:
                raise BadInput(
                    f"limit_train {limit_train} is less than one sample a class of {groups} in all tasks.",
                    f"Give at least {groups}.",
                )
            train = np.sort(np.concatenate([train[units[train] == c][:share] for c in classes]))
        if validation is not None:
            held_out = last_part_of_each(units[train], validation)
            train, test = train[~held_out], train[held_out]
        if not train.size or not test.size:
            part = "training" if not train.size else "test"
            raise BadInput(
                f"Task {index} ({title}) of '{name}' has no {part} samples.",
                "Give every class several samples.",
            )
        tasks.append(Task(index, title, classes, data.samples.subset(train), data.samples.subset(test)))
    c, h, w = data.samples.shape
    return Stream(
        name,
        (c, h, w),
        data.samples.dtype.name,
        data.labels,
        data.mean,
        data.std,
        kind,
        tuple(tasks),
        dict(defaults),
        about,
    )


@dataclass(frozen=True)
class StreamInfo:
    """A line of 'edgecl data list'."""

    name: str
    summary: str
    tasks: int
    input_shape: tuple[int, int, int]
    train_size: int
    test_size: int
    dataset: str
    licence: str
    origin: str
    download_bytes: int
    cached: bool


def list_streams() -> list[StreamInfo]:
    """Registered streams, whether or not their data is in the cache; not those of a package that fails."""
    STREAMS.load_all()
    lines = []
    for _, s in STREAMS.loaded():
        d = DATASETS[s.dataset]
        cached = (dataset_folder(s.dataset) / "meta.json").exists()
        lines.append(
            StreamInfo(
                s.name, s.summary, s.task_count, s.input_shape, s.train_size, s.test_size,
                s.dataset, d.licence, d.origin, d.download_bytes, cached,
            )
        )  # fmt: skip
    return lines


def fetch_stream_data(name: str, source_dir: str | Path | None = None) -> Path:
    """Fetch a stream's data set, or take the standard files in ``source_dir``; its folder in the cache.

    Already there and no ``source_dir``: nothing is done.
    """
    spec = STREAMS.get(name)
    folder = dataset_folder(spec.dataset)
    if source_dir is None and (found := open_dataset(folder)) is not None:
        found.samples.close()
        return folder
    return run_in_child(
        get_dataset,
        name=spec.dataset,
        source_dir=None if source_dir is None else str(Path(source_dir).resolve()),
    )
