"""What the place of a file says of its samples."""

from __future__ import annotations

import numpy as np

from ..complete import Origins
from .walk import Entry


def add_origin(origins: Origins, entry: Entry, time: float | None = None, file: str | None = None) -> None:
    """Append what is known of one sample; `settle_origins` drops what is not known of all."""
    origins.labels.append(entry.label)
    origins.test.append(entry.part == "test")
    origins.domains.append(entry.domain or "")
    origins.subjects.append(entry.subject or "")
    origins.files.append(file or entry.group or "")
    origins.times.append(np.nan if time is None else time)


def settle_origins(origins: Origins) -> None:
    """Forget groups that not every sample names, and a test part that holds nothing or everything."""
    if not any(origins.test) or all(origins.test):
        origins.test = []
    for name in ("domains", "files", "subjects"):
        values = getattr(origins, name)
        if values and (not all(v != "" for v in values) or len(set(values)) < 2):
            setattr(origins, name, [])
    if np.isnan(np.array(origins.times, float)).any():
        origins.times = []
