"""Writes a profile's tables as TOML, one figure a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def to_toml(data: Mapping[str, Any], comment: str) -> str:
    """``data`` as `schema.parse_profile` takes it, under ``comment``."""
    lines = [f"# {line}" for line in comment.splitlines()]
    lines += [f"{k} = {_value(v)}" for k, v in data.items() if not isinstance(v, (dict, list))]
    for cluster in data["clusters"]:
        lines += ["", "[[clusters]]", *(f"{k} = {_value(v)}" for k, v in cluster.items())]
    for section, content in data.items():
        if not isinstance(content, dict):
            continue
        lines += ["", f"[{section}]"]
        for key, value in content.items():
            if isinstance(value, list):
                lines += [f"{key} = [", *(f"  {_value(row)}," for row in value), "]"]
            else:
                lines.append(f"{key} = {_value(value)}")
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{k} = {_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(v) for v in value) + "]"
    return repr(value)
