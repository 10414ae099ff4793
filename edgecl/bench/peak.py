"""The child process of the memory bench: does an operation ten times and prints its peak as JSON."""

from __future__ import annotations

import json
import sys

from ..budget.meters import peak_resident, resident
from ..engine.select import import_engine
from .work import TORCH, Case, make_call


def main() -> int:
    """argv: {"case": ..., "threads": ...}."""
    job = json.loads(sys.argv[1])
    case = Case(**job["case"])
    if case.engine == TORCH:
        import torch  # noqa: F401 - the library is not the step's
    else:
        import_engine("native")
    baseline = resident()
    call = make_call(case, job["threads"])
    for _ in range(10):
        call()
    print(json.dumps({"baseline": baseline, "peak": peak_resident()}))
    return 0
