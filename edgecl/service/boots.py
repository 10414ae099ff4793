"""Boots: how often the daemon began without staying well; too often, and it only predicts."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from .. import __version__
from ..storage.bounded import read_json_file
from ..storage.whole import write_whole

MOST = 3


class Boots:
    """Counts starts in ``boots.json`` until one of them stays well for long enough, or ends in order.

    count : starts before this one that did neither
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "boots.json"
        try:
            found = read_json_file(self._path, 4096)
            self.count = int(found["starts"]) if found["version"] == __version__ else 0
        except (OSError, ValueError, KeyError, TypeError):
            self.count = 0
        self._write(self.count + 1)

    @property
    def too_many(self) -> str | None:
        """Why there is to be no more than predictions, or None."""
        return f"the last {self.count} starts ended early" if self.count >= MOST else None

    def well(self) -> None:
        """This start stayed well, or ends in order: the count begins anew."""
        self._write(0)

    def _write(self, starts: int) -> None:
        with contextlib.suppress(OSError):  # a full disk is no reason not to start
            write_whole(self._path, json.dumps({"starts": starts, "version": __version__}).encode())
