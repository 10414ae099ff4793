"""Rows of the reproduction ledger (bench/ledger.jsonl), read: the newest of each, and a method's verdict."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ORDER = ("not reproduced", "open", "not comparable", "better", "reproduced")  # the worst first


def ledger_rows(path: Path) -> list[dict[str, Any]]:
    """The newest row of every id in a ledger, in the order of their first; none without a file."""
    found: dict[str, dict[str, Any]] = {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.strip():
                row = json.loads(line)
                found[row["id"]] = row
    return list(found.values())


def verdict_of(method: str, rows: list[dict[str, Any]]) -> str:
    """Of a method's rows, the worst first with their number: ``open 1, reproduced 2``; ``not run`` without one."""
    counts: Mapping[str, int] = {v: sum(r["method"] == method and r["verdict"] == v for r in rows) for v in ORDER}
    return ", ".join(f"{v} {n}" for v, n in counts.items() if n) or "not run"
