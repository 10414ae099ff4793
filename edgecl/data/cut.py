"""How a data set becomes tasks: by class, subject, time, file, domain, or the tasks it names itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import BadInput
from .cache import PlainDataset
from .naming import natural_key
from .options import Cutting

# One task before its sources are cut: name, head units, indices of training and test samples
Cut = tuple[str, tuple[int, ...], np.ndarray, np.ndarray]
TIME_TASKS = 5  # of a stream by time, where their number is not given
GROUPS = {"subject": "subjects", "file": "files", "domain": "domains", "task": "tasks"}


def cut(data: PlainDataset, how: Cutting) -> tuple[list[Cut], str]:
    """(tasks, how they were cut in words). BadInput where the data does not say what it is to be cut by."""
    by = how.by or ("class" if data.tasks is None else "task")
    if how.classes_per_task is not None and by != "class":
        raise BadInput(f"Classes per task go with --by class, not with --by {by}.", "Drop one of the two.")
    if how.task_count is not None and by != "time":
        raise BadInput(f"The number of tasks goes with --by time, not with --by {by}.", "Drop one of the two.")
    if by == "class":
        per_task = how.classes_per_task or 2
        cuts = split_by_classes(per_task, how)(data)
        sizes = sorted({len(classes) for _, classes, _, _ in cuts})
        span = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        what = f"{len(cuts)} {_tasks(cuts)} of {span} {'class' if span == '1' else 'classes'}"
    elif by == "time":
        cuts = _by_time(data, how)
        what = f"{len(cuts)} {_tasks(cuts)} by time"
    else:
        cuts = _by_group(data, by, how)
        what = f"{len(cuts)} {_tasks(cuts)}, one a {by}" if by != "task" else f"{len(cuts)} {_tasks(cuts)} as named"
    order = how.order or "natural"
    said = {"natural": "in natural order", "random": f"in random order (seed {how.seed})", "given": "as they come"}
    return cuts, f"{what}, {said[order]}" if by != "time" else what


def _tasks(cuts: list[Cut]) -> str:
    return "task" if len(cuts) == 1 else "tasks"


def split_by_classes(
    per_task: int, how: Cutting | None = None, first: int | None = None
) -> Callable[[PlainDataset], list[Cut]]:
    """Tasks of ``per_task`` classes, in natural order or as ``how`` says; a single class left over joins the last task.

    first: use only the first so many classes.
    """

    def by_classes(data: PlainDataset) -> list[Cut]:
        units = data.samples.labels
        order = np.arange(len(data.labels) if first is None else first)
        order = _ordered(order, _first_places(units, order), how)
        starts = list(range(0, len(order), per_task))
        if len(starts) > 1 and len(order) - starts[-1] < min(2, per_task):
            starts.pop()
        cuts = []
        for start, stop in zip(starts, [*starts[1:], len(order)]):
            classes = tuple(order[start:stop].tolist())
            here = np.isin(units, classes)
            name = "/".join(str(data.labels[c]) for c in classes)
            cuts.append((name, classes, np.flatnonzero(here & ~data.test), np.flatnonzero(here & data.test)))
        return cuts

    return by_classes


def split_by_subjects(data: PlainDataset) -> list[Cut]:
    """One task per training subject, ascending, all classes in each; all test on the unseen subjects."""
    return _by_group(data, "subject", Cutting())


def _ordered(items: np.ndarray, places: np.ndarray, how: Cutting | None) -> np.ndarray:
    """``items`` (in natural order) as asked: natural, random by the seed, or by ``places`` of first appearance."""
    order = "natural" if how is None or how.order is None else how.order
    if order == "random":
        assert how is not None
        return np.random.default_rng([how.seed, 0x0C4]).permutation(items)
    return items[np.argsort(places, kind="stable")] if order == "given" else items


def _first_places(values: np.ndarray, items: np.ndarray) -> np.ndarray:
    """int [len(items)]: where each of ``items`` comes first in ``values``."""
    found, places = np.unique(values, return_index=True)
    at = dict(zip(found.tolist(), places.tolist()))
    return np.array([at.get(item, values.size) for item in items.tolist()])


def _by_group(data: PlainDataset, by: str, how: Cutting) -> list[Cut]:
    """One task a group. Groups that only test (unseen subjects) are the test of every task; else each its own."""
    values = data.samples.subjects if by == "subject" else getattr(data, GROUPS[by])
    if values is None:
        raise BadInput(f"The data names no {GROUPS[by]}.", "Use --by class, or see what 'edgecl data check' finds.")
    names = data.names(GROUPS[by])
    groups = np.unique(values[~data.test])
    if names is None:
        groups = np.array(sorted(groups.tolist(), key=natural_key), values.dtype)
    groups = _ordered(groups, _first_places(values, groups), how)
    unseen = np.flatnonzero(data.test & ~np.isin(values, groups))
    seen = data.test & np.isin(values, groups)
    units, cuts = data.samples.labels, []
    for group in groups.tolist():
        here = values == group
        train = np.flatnonzero(here & ~data.test)
        own = np.flatnonzero(here & seen)
        test = own if own.size else unseen
        if by == "subject" and not seen.any():
            classes = tuple(range(len(data.labels)))
        else:
            classes = tuple(np.unique(units[np.concatenate([train, own])]).tolist())
        cuts.append((f"{by} {group if names is None else names[group]}", classes, train, test))
    return cuts


def _by_time(data: PlainDataset, how: Cutting) -> list[Cut]:
    """Parts of as many training samples each, in order of time; every one tests on the test samples of its span."""
    if data.times is None:
        raise BadInput("The data does not say when its samples were taken.", "Name a time column, or use --by class.")
    if how.order not in (None, "natural"):
        raise BadInput(f"A stream by time has one order, not '{how.order}'.", "Drop --order.")
    times, units = data.times, data.samples.labels
    train = np.flatnonzero(~data.test)
    count = min(how.task_count or TIME_TASKS, train.size)
    parts = np.array_split(train[np.argsort(times[train], kind="stable")], count)
    edges = [times[part[0]] for part in parts[1:]]
    span = np.searchsorted(np.array(edges), times, side="right")
    everything = np.flatnonzero(data.test)
    cuts = []
    for number, part in enumerate(parts):
        own = everything[span[everything] == number]
        test = own if own.size else everything
        classes = tuple(np.unique(units[np.concatenate([part, own])]).tolist())
        cuts.append((f"time {number + 1}", classes, np.sort(part), test))
    return cuts
