"""The ``out`` folder of a run: one run at a time writes into it, and what it held is kept until a run begins."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from .. import checkpoint
from ..config import normalise
from ..data.streams import STREAMS
from ..errors import BadInput
from ..folders import may_write
from ..former_names import present_names
from ..plugins import check_provenance, provenance
from ..storage.bounded import read_json_file

# options that do not make a saved state what it is: where things lie, and what a plan may choose anew
ELSEWHERE = ("stream", "store", "out", "governor_log", "micro_batch", "predict_batch", "activations")


class OutFolder:
    """A folder of its own for one run with ``config``: made, locked until `close`. Raises `BadInput`."""

    def __init__(self, path: Path, config: Mapping[str, Any]) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self.lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise unwritable(path, error) from error
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise BadInput(
                f"Another run is writing into '{path}'.", "Wait for it, or choose another --out folder."
            ) from None
        except OSError:  # a file system without locks
            pass
        if not may_write(path):
            self.close()
            raise BadInput(f"'{path}' cannot be written to.", "Choose another --out folder.")
        self.empty = not (path / "config.json").exists()
        if self.empty:  # what is killed from now on can be resumed
            self.keep(config)

    def refuse(self) -> None:
        """The run could not be made: the folder holds what it held before."""
        if self.empty:
            (self.path / "config.json").unlink(missing_ok=True)
        self.close()

    def begin(self, config: Mapping[str, Any], anew: bool) -> None:
        """The run with ``config`` goes on here; one that begins ``anew`` takes the place of the one that was here,
        whose saved states go.
        """
        for old in checkpoint.generations(self.path) if anew else ():
            old.unlink()
        self.keep(config)

    def keep(self, config: Mapping[str, Any]) -> None:
        """Leave the configuration for `--resume`."""
        try:
            temporary = self.path / "config.json.tmp"
            needed = provenance(config)
            kept = absolute(config)
            temporary.write_text(json.dumps({**kept, "plugins": needed} if needed else kept, indent=1))
            temporary.replace(self.path / "config.json")
        except OSError as error:
            self.close()
            raise unwritable(self.path, error) from error

    def close(self) -> None:
        with suppress(OSError):
            os.close(self.lock)
        self.lock = -1


def absolute(config: Mapping[str, Any]) -> dict[str, Any]:
    """Options whose places mean the same in any folder."""
    places = [name for name in ("store", "root_key_file", "stream") if config.get(name)]
    if config.get("stream") in STREAMS or not os.path.exists(str(config.get("stream"))):
        places = [name for name in places if name != "stream"]
    return {**config, **{name: os.path.abspath(config[name]) for name in places}}


def unwritable(path: Path, error: OSError) -> BadInput:
    return BadInput(f"'{path}' cannot be written to: {error.strerror}.", "Choose another --out folder.")


def kept_options(folder: Path) -> dict[str, Any]:
    """What `OutFolder.keep` left, parsed. Raises `BadInput`."""
    try:
        options = read_json_file(folder / "config.json")
    except (OSError, ValueError) as error:
        raise BadInput(f"'{folder}' holds no run to resume.", "Give the --out folder of a run.") from error
    if not isinstance(options, dict):
        raise BadInput(f"'{folder}' holds no run to resume.", "Give the --out folder of a run.")
    check_provenance(options.pop("plugins", ()), "run")
    try:
        return normalise(present_names(options))
    except BadInput as error:
        raise BadInput(f"'{folder / 'config.json'}' was changed: {error.cause}", error.remedy) from error


def essential(config: Mapping[str, Any], changeable: tuple[str, ...]) -> dict[str, Any]:
    """The options that a saved state cannot go without, by their present names."""
    return {k: v for k, v in present_names(config).items() if k not in changeable and k not in ELSEWHERE}
