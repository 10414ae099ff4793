"""Folder: pictures and arrays that are put into a watched folder become samples.

``NAME/file`` is a sample of the label NAME, ``_unlabelled/file`` waits for a label in the pool. The listing is the
truth: a file that stood still is taken, and moved to ``.done`` once it is on flash, or to ``.bad`` with the reason.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..errors import BadInput
from ..storage.bounded import read_bounded
from ..storage.errors import StoreError
from .bodies import NPY, Samples, check_label, label_of, read_samples
from .config import Watch
from .refusals import status_of
from .service import Service

LOG = logging.getLogger("edgecl.service")
UNLABELLED, DONE, BAD = "_unlabelled", ".done", ".bad"
KINDS = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".npy": NPY}
MOST_NAMES = 100_000  # of a folder that are looked at in one turn
YOUNG = 60.0  # seconds for which a file that cannot be read may still be on its way
_LATER = (503, 507)  # statuses of what may come again


class _Seen(NamedTuple):
    """How a file stood when it was last looked at."""

    inode: int
    size: int
    changed: int  # ns


class FolderThread:
    """Takes what is put into a folder until `close`. taken, bad : files so far"""

    def __init__(self, service: Service, options: Watch, told: Callable[[int], None]) -> None:
        assert options.folder is not None
        self._service, self._options, self._told = service, options, told
        self._root = Path(os.path.abspath(options.folder))
        self._before: dict[str, _Seen] = {}
        self.taken = self.bad = 0
        self._ended = threading.Event()
        if not self._root.is_dir():
            raise BadInput(f"The watched folder '{self._root}' is not there.", f"Do: mkdir -p {self._root}")
        self._thread = threading.Thread(target=self._work, name="folder", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End after the file at hand."""
        self._ended.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._ended.wait(self._options.every):
            try:
                self._look()
            except OSError as error:
                LOG.warning("the watched folder cannot be read: %s", error, extra={"event": "watch"})

    def _look(self) -> None:
        """One turn: what stood still since the last one is taken."""
        now: dict[str, _Seen] = {}
        for name in sorted(os.listdir(self._root)):
            folder = self._root / name
            if name.startswith(".") or not stat.S_ISDIR(folder.lstat().st_mode):
                continue
            for file in sorted(os.listdir(folder))[:MOST_NAMES]:
                with contextlib.suppress(FileNotFoundError):
                    self._consider(name, folder / file, now)
                if self._ended.is_set():
                    return
        self._before = now

    def _consider(self, name: str, path: Path, now: dict[str, _Seen]) -> None:
        found = path.lstat()
        if path.name.startswith(".") or path.suffix.lower() not in KINDS or not stat.S_ISREG(found.st_mode):
            return
        seen = _Seen(found.st_ino, found.st_size, found.st_mtime_ns)
        if self._before.get(str(path)) != seen:
            now[str(path)] = seen
            return
        try:
            self._take(name, path)
        except Exception as error:
            if status_of(error) in _LATER:
                now[str(path)] = seen
            elif isinstance(error, (OSError, StoreError)) or status_of(error) == 500:
                LOG.warning("'%s' was not taken: %s", path, error, extra={"event": "watch"})
                now[str(path)] = seen
            elif time.time() - found.st_mtime < YOUNG:
                now[str(path)] = seen  # perhaps the rest comes
            else:
                self._refuse(name, path, str(error))

    def _take(self, name: str, path: Path) -> None:
        """A file is a sample, on flash when this returns and moved away."""
        body = read_bounded(path, self._service.config.serve.max_body)
        kind, spec = KINDS[path.suffix.lower()], self._service.held.spec
        if name == UNLABELLED:
            answer = self._service.predict(lambda: read_samples(kind, body, spec, {}), 1).result()
            self._service.keep(answer, list(range(len(answer.labels))))
        else:
            label = label_of(name)
            check_label(label)

            def decode() -> Samples:
                found = read_samples(kind, body, spec, {})
                return Samples(found.x, label)

            self._service.observe(decode, len(body), True, None).result()
        self._move(path, name, DONE)
        self.taken += 1
        self._told(1)

    def _refuse(self, name: str, path: Path, why: str) -> None:
        moved = self._move(path, name, BAD)
        moved.with_name(moved.name + ".reason.txt").write_text(why + "\n", encoding="utf-8")
        self.bad += 1
        LOG.warning("'%s' was not taken: %s", path, why, extra={"event": "watch"})

    def _move(self, path: Path, name: str, to: str) -> Path:
        """Into a folder of ours beside the others; a name that is there gets a number."""
        folder = self._root / to / name
        folder.mkdir(parents=True, exist_ok=True)
        target, number = folder / path.name, 0
        while os.path.lexists(target):
            number += 1
            target = folder / f"{path.stem}-{number}{path.suffix}"
        os.rename(path, target)
        return target
