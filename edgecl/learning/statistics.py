"""Forgetting in what a method sums up: a subject's samples subtracted before they are erased."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from ..methods.context import TaskInfo
from ..plugins import guard_plugin
from .core import Core

INEXACT = "not exact: what the method learned of the subject cannot be subtracted; retrain_without() removes it"


@contextmanager
def without_statistics(core: Core, subject: int, ids: np.ndarray | None = None) -> Iterator[str | None]:
    """Take a subject, or the samples ``ids``, out of what the method sums up, before they are erased or changed within;
    back as it was when that fails. Gives what a receipt says of it."""
    p = core.parts
    before = p.method.state()
    if not before:
        yield None
        return
    if ids is None:
        ids = np.zeros(0, np.int64)
        if p.store is not None:
            p.store.flush()
            ids = p.store.ids_of_subject(subject)
    evicted = p.config.store_limit is not None and p.store is not None and p.store.next_id > p.store.count
    with guard_plugin(p.method, "forget"):
        exact = p.method.forget(core.context(TaskInfo(None, False), None), subject, ids) and not evicted
    try:
        yield "exact" if exact else INEXACT
    except BaseException:
        p.method.load(before)
        raise
