"""What a record says of flash and exchanges."""

from __future__ import annotations

from typing import Any

from ..storage import SampleStore
from ..storage.decisions import DecisionLog
from .wiring import Parts


def flash_facts(store: SampleStore) -> dict[str, int | None]:
    """Bytes of the store's files, of all writes in its life, and of those of the last day."""
    return {"bytes": store.bytes, "bytes_written": store.wear.total, "bytes_written_last_day": store.wear.last_day}


def carousel_facts(p: Parts, log: DecisionLog) -> dict[str, Any]:
    """Samples and bytes on flash, exchanges, decisions; plain values."""
    carousel: dict[str, Any] = dict.fromkeys(("samples_stored", "flash_bytes", "bytes_written", "bytes_read"), 0)
    if p.store is not None:
        stats = p.store.stats()
        written = {k: stats[k] for k in ("flash_bytes", "bytes_written", "bytes_read")}
        carousel = {"samples_stored": stats["samples"], **written}
    counters = {} if p.carousel is None else p.carousel.counters
    carousel["bytes_read"] += counters.get("bytes_read", 0)
    for name in ("swaps_requested", "swaps_done", "swaps_dropped", "swaps_skipped"):
        carousel[name] = counters.get(name, 0)
    carousel["stall_seconds"] = float(counters.get("stall_seconds", 0.0))
    carousel["decisions"] = [list(entry) for entry in log]
    carousel["decisions_cut"] = log.cut
    return carousel
