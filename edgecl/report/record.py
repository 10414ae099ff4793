"""The run record: one JSON object, of the committed schema `run_record.schema.json`."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BadInput
from ..former_names import present_names
from ..storage.bounded import read_json_file

SCHEMA = "edgecl.run/1"
BITS = 2  # of arithmetic and draws: CHANGELOG.md says what each number changed
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


@cache
def record_schema() -> dict[str, Any]:
    """The JSON schema of a run record."""
    return json.loads(Path(__file__).with_name("run_record.schema.json").read_text())


def host_facts() -> dict[str, Any]:
    """What the figures of a record depend on."""
    try:
        from .. import _kernels

        isa = str(_kernels.isa())
    except ImportError:
        isa = "none"
    return {
        "machine": platform.machine(),
        "system": platform.release(),
        "processors": os.cpu_count() or 1,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "instruction_set": isa,
    }


def check_record(record: Mapping[str, Any]) -> None:
    """Required keys and types of the schema, and no NaN. Raises `BadInput` with the place that is wrong.

    The tests use a full JSON schema validator; this needs no dependency.
    """
    check_schema(record, record_schema(), "The run record")


def check_schema(value: Any, schema: Mapping[str, Any], place: str, whole: Mapping[str, Any] | None = None) -> None:
    """``value`` against the part of JSON schema that our schemas use: type, const, enum, required, properties,
    items, minItems, $ref into $defs. ``place`` names the value in errors; ``whole`` is the schema with the $defs.
    """
    whole = schema if whole is None else whole
    if "$ref" in schema:
        schema = whole["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(value, kind) for kind in kinds):
        raise BadInput(f"{place} is {type(value).__name__}.", f"It must be {' or '.join(kinds)}.")
    known = schema.get("enum", [schema["const"]] if "const" in schema else [value])
    if value not in known:
        raise BadInput(f"{place} is {value!r}.", f"It must be {' or '.join(map(repr, known))}.")
    if isinstance(value, dict):
        for key in schema.get("required", ()):
            if key not in value:
                raise BadInput(f"{place} has no '{key}'.", "Use a file as edgecl wrote it.")
        other = schema.get("additionalProperties", {})
        for key, item in value.items():
            part = schema.get("properties", {}).get(key, other if isinstance(other, dict) else {})
            check_schema(item, part, f"{place}: {key}" if ": " not in place else f"{place}.{key}", whole)
    elif isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            raise BadInput(f"{place} has {len(value)} entries.", f"Give at least {schema['minItems']}.")
        for i, item in enumerate(value):
            check_schema(item, schema.get("items", {}), f"{place}[{i}]", whole)
    elif isinstance(value, float) and not math.isfinite(value):
        raise BadInput(f"{place} is {value}.", "Figures must be finite.")


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES[kind])


def write_record(path: str | Path, record: Mapping[str, Any]) -> None:
    """Checked, then written to a temporary name, flushed and renamed."""
    check_record(record)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(record, file, indent=1, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def read_record(path: str | Path) -> dict[str, Any]:
    """A checked run record; its options have their present names, whenever it was written. Raises `BadInput`."""
    record = read_object(path, "run record", "Give the run.json of a run.")
    if isinstance(record.get("config"), dict):
        record["config"] = present_names(record["config"])
    try:
        check_record(record)
    except BadInput as error:
        raise BadInput(f"'{path}': {error.cause}", error.remedy) from error
    return record


def read_object(path: str | Path, what: str, remedy: str) -> dict[str, Any]:
    """The object of a JSON file that should be a ``what``. Raises `BadInput`."""
    try:
        found = read_json_file(path)
    except (OSError, ValueError) as error:
        raise BadInput(f"'{path}' is not a readable {what}: {error}.", remedy) from error
    if not isinstance(found, dict):
        raise BadInput(f"'{path}' is not a {what}.", remedy)
    return found
