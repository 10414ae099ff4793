"""Small JSON files that are whole or absent: a temporary name, flushed, renamed, the directory flushed; a checksum."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ._storage import crc32c


def write_json(path: Path, data: Any) -> None:
    """Replaces ``path``; on flash when it returns."""
    text = json.dumps(data, indent=1)
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "w") as file:
        file.write(json.dumps({"crc32c": crc32c(text.encode()), "text": text}))
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_directory(path.parent)


def read_json(path: Path) -> Any:
    """What `write_json` wrote; `ValueError` when it is something else."""
    outer = json.loads(path.read_text())
    if not isinstance(outer, dict) or not {"text", "crc32c"} <= outer.keys():
        raise ValueError("it is of another kind")
    if crc32c(str(outer["text"]).encode()) != outer["crc32c"]:
        raise ValueError("its checksum is wrong")
    return json.loads(outer["text"])


def sync_directory(path: Path) -> None:
    """Makes names created or removed in a directory permanent."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
