"""Whether a receipt of `Learner.forget` holds of the saved states it names; `storage.audit` looks at the store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import checkpoint
from ..errors import EdgeclError
from ..storage import Finding


def audit_saved(receipt: Mapping[str, Any]) -> Iterator[Finding]:
    """One finding for each file of a saved state in the folders of a receipt. Sealed states hold what has a key."""
    for folder in map(Path, receipt.get("saved", ())):
        for path in sorted(folder.glob("*.safetensors*")):
            try:
                held = _held(checkpoint.read(path), int(receipt["subject"]), int(receipt["below"]))
                yield Finding(f"the saved state {path} holds none of its samples", not held, f"{held} samples")
            except EdgeclError as error:
                yield Finding(f"the saved state {path} can be read", False, error.cause)


def _held(state: Mapping[str, Any], subject: int, below: int) -> int:
    """Samples of a subject, stored before an id, in memory, stream buffer and swaps; sealed ones do not count."""
    trainer = state.get("trainer") or {}
    swaps = trainer.get("carousel") or {}
    parts = [(state.get("stream_buffer") or {}, "subjects", "ids"), (trainer.get("memory") or {}, "subjects", "ids"),
             (swaps, "subject", "id")]  # fmt: skip
    held = 0
    for part, subjects, ids in parts:
        rows = part.get("samples", part.get("bytes"))
        if subjects in part and not isinstance(rows, Mapping):
            held += int(((np.asarray(part[subjects]) == subject) & (np.asarray(part[ids]) < below)).sum())
    return held
