"""Small JSON files of the store: whole or absent (`whole`), with a checksum."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ._storage import crc32c
from .bounded import parse_json, read_json_file
from .whole import OWN, write_whole


def write_json(path: Path, data: Any, mode: int | None = OWN) -> None:
    """Replaces ``path``; on flash when it returns."""
    text = json.dumps(data, indent=1)
    write_whole(path, json.dumps({"crc32c": crc32c(text.encode()), "text": text}).encode(), mode)


def read_json(path: Path) -> Any:
    """What `write_json` wrote; `ValueError` when it is something else, `OSError` when it cannot be read."""
    outer = read_json_file(path)
    if not isinstance(outer, dict) or not {"text", "crc32c"} <= outer.keys():
        raise ValueError("it is of another kind")
    text = str(outer["text"]).encode(errors="surrogatepass")
    if crc32c(text) != outer["crc32c"]:
        raise ValueError("its checksum is wrong")
    return parse_json(text)
