"""Holdout: samples kept out of training to judge the model by, class-balanced; in the store without a label."""

from __future__ import annotations

import json
import threading
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..storage.bounded import read_json_file
from ..storage.whole import write_whole
from .config import Holdout as Options


class Row(NamedTuple):
    """label, and subject or None; x [C, H, W]."""

    label: Any
    subject: int | None
    x: np.ndarray


class Holdout:
    """Of every label's samples one in so many, at most ``most`` altogether, as many of each label.

    What it holds lies in the store as samples without a label, which nothing trains on; the labels lie in
    ``holdout.json``. A sample that makes room for others is given its label back (`displaced`) and may be trained on.

    rows : by which models are judged;  fresh : came since a model last passed, and judge with the next one that does:
        wrong labels would otherwise speak for the model that learned them. Those of a label that no row has judge at
        once, so that what a new label costs the others is weighed against it.
    """

    def __init__(self, folder: Path, options: Options) -> None:
        self._path, self.options = folder / "holdout.json", options
        self._lock = threading.Lock()
        self.rows: dict[int, Row] = {}
        self.fresh: dict[int, Row] = {}
        self.displaced: list[tuple[int, Any]] = []
        self._seen: Counter[Any] = Counter()  # samples of a label that came
        self._changed = False

    def __len__(self) -> int:
        return len(self.rows) + len(self.fresh)

    @property
    def seen(self) -> dict[Any, int]:
        """Samples of each label that came."""
        with self._lock:
            return dict(self._seen)

    def load(self, samples: Any) -> None:
        """What was held when it was last saved, as far as ``samples(ids)`` still gives it."""
        try:
            found = read_json_file(self._path, 1 << 20)
            about = {int(i): (label, subject) for i, label, subject in found["rows"]}
            self.displaced = [(int(i), label) for i, label in found.get("displaced", ())]
            self._seen.update({label: int(n) for label, n in found["seen"]})
        except (OSError, ValueError, KeyError, TypeError):
            return
        there = samples(list(about))
        rows = {i: Row(*about[i], there[i]) for i in about if i in there}
        new = set(found.get("fresh", ()))
        self.rows, self.fresh = ({i: r for i, r in rows.items() if (i in new) == w} for w in (False, True))

    def choose(self, labels: list[Any]) -> np.ndarray:
        """bool [n]: which of samples with these labels are to be held out."""
        chosen = np.zeros(len(labels), bool)
        if not self.options.share:
            return chosen
        every = max(2, round(1 / self.options.share))
        with self._lock:
            for i, label in enumerate(labels):
                self._seen[label] += 1
                chosen[i] = self._seen[label] % every == every // 2
        return chosen

    def add(self, ids: list[int], labels: list[Any], subject: int | None, x: np.ndarray) -> None:
        """Hold samples that the store has under ``ids``."""
        with self._lock:
            for i, label, sample in zip(ids, labels, x):
                self.fresh[i] = Row(label, subject, sample.copy())
            self._make_room(self.fresh)
            self._changed = True

    def passed(self) -> None:
        """A model did well: what came since the last one did judges from now on."""
        with self._lock:
            if self.fresh:
                self.rows.update(self.fresh)
                self.fresh = {}
                self._make_room(self.rows)
                self._changed = True

    def _make_room(self, rows: dict[int, Row]) -> None:
        """Of the largest classes any leave, drawn by how much has come so far."""
        rng = np.random.default_rng(sum(self._seen.values()))
        while len(rows) > self.options.most:
            largest = Counter(row.label for row in rows.values()).most_common(1)[0][0]
            one = int(rng.choice([i for i, row in rows.items() if row.label == largest]))
            self.displaced.append((one, rows.pop(one).label))

    def given_back(self) -> list[tuple[int, Any]]:
        """(id, label) of samples that are to be trained on again; they are no longer ours."""
        with self._lock:
            found, self.displaced = self.displaced, []
            self._changed |= bool(found)
            return found

    def empty(self) -> list[tuple[int, Any]]:
        """Hold nothing; (id, label) of what was held."""
        with self._lock:
            held = [(i, row.label) for rows in (self.rows, self.fresh) for i, row in rows.items()]
            self.rows, self.fresh, self._changed = {}, {}, True
            return held

    def drop(self, keep: Any) -> None:
        """Only rows for which ``keep(id, row)`` stay."""
        with self._lock:
            self.rows, self.fresh = (
                {i: row for i, row in rows.items() if keep(i, row)} for rows in (self.rows, self.fresh)
            )
            self._changed = True

    def ids(self, among: Any) -> set[int]:
        """Ids of the rows for which ``among(id, row)``."""
        with self._lock:
            return {i for rows in (self.rows, self.fresh) for i, row in rows.items() if among(i, row)}

    def rename(self, label: Any, to: Any) -> None:
        with self._lock:
            self.rows, self.fresh = (
                {i: row._replace(label=to) if row.label == label else row for i, row in rows.items()}
                for rows in (self.rows, self.fresh)
            )
            self._changed = True

    def save(self) -> None:
        """On flash when it returns. Raises `OSError`."""
        with self._lock:
            if not self._changed:
                return
            about = {
                "rows": [[i, r.label, r.subject] for rows in (self.rows, self.fresh) for i, r in rows.items()],
                "fresh": list(self.fresh),
                "displaced": self.displaced,
                "seen": list(self._seen.items()),
            }
            write_whole(self._path, json.dumps(about).encode())
            self._changed = False

    def batch(self) -> tuple[list[int], list[Any], np.ndarray]:
        """Ids, labels and samples [n, C, H, W] of what judges now."""
        with self._lock:
            known = {row.label for row in self.rows.values()}
            rows = self.rows | {i: row for i, row in self.fresh.items() if row.label not in known}
        x = np.stack([row.x for row in rows.values()]) if rows else np.zeros(0)
        return list(rows), [row.label for row in rows.values()], x
