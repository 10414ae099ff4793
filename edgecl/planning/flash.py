"""Bytes on flash: refused where a budget does not hold them."""

from __future__ import annotations

import math
from dataclasses import replace

from ..budget.planner import RunPlan
from ..config import Config
from ..data import Stream
from ..errors import BadInput, InfeasibleBudget
from ..intake.spec import SampleSpec
from ..methods import Method
from ..storage.keys import SEAL_BYTES
from .configured import field_bytes

RECORD_BYTES, FIELD_BYTES, TASK_BYTES = 64, 16, 100_000  # per record, per stored field, per task


def check_flash(config: Config, stream: Stream) -> None:
    """Refuse a flash budget that the stream, or the store's own limit, would overrun."""
    if config.flash is None or config.store is None:
        return
    limit = config.store_limit
    record = stream.sample_bytes + 64
    if isinstance(limit, str):
        need = min(int(limit.split()[0]), stream.train_size) * record
    else:
        need = stream.train_size * record if limit is None else min(limit, stream.train_size * record)
    if need > config.flash:
        whole = config.flash // 1_000_000
        raise BadInput(
            f"The store would grow to about {need / 1e6:.3g} MB, the flash budget is {config.flash / 1e6:.3g} MB.",
            f"Give --store-limit {whole}MB or a larger --flash." if whole else "Give a larger --flash.",
        )


def with_flash_writes(plan: RunPlan, stream: Stream, spec: SampleSpec, method: Method) -> RunPlan:
    """The plan with the bytes its store will write; refused when a day's budget does not hold them.

    Records, the logits of the last epoch, an index entry each, and the tail pages of a commit point every so often:
    what the store counts lies within a tenth of it (tests). A run that the cost model expects to take longer than a
    day may write that much more.
    """
    config = plan.config
    if config.store is None:
        return plan
    stored = field_bytes(method, stream.class_count)
    fields = sum(stored.values()) + FIELD_BYTES * len(stored)
    sealed = 0 if config.root_key_file is None else SEAL_BYTES * (1 + len(stored))
    writes = stream.train_size * (spec.bytes + RECORD_BYTES + fields + sealed) + len(stream.tasks) * TASK_BYTES
    plan = replace(plan, flash_writes=writes)
    limit = config.flash_writes_per_day
    days = max(1.0, (plan.run_seconds or 0.0) / 86400)
    if limit is not None and writes > 0.98 * limit * days:
        raise InfeasibleBudget(
            f"The store would write about {writes / 1e6:.3g} MB, the flash may take {limit / 1e6:.3g} MB a day.",
            f"The nearest budget that would: --flash-writes-per-day {math.ceil(writes / 0.98 / days / 1e6)}MB; "
            "or fewer samples (--limit-train).",
        )
    return plan
