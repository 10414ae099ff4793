"""What is called with samples that it may not write to; shared by the suites of fronts and executors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray


def called(work: Callable[[Array], Any], x: Array, broken: Callable[[str, str], AssertionError]) -> tuple[Array, Array]:
    """(the array that ``work`` gives, the copy of ``x`` [n, ...] that it got). ``broken``: the error for what is wrong,
    and where to read of it.
    """
    given = x.copy()
    given.flags.writeable = False
    try:
        found = work(given)
    except ValueError as error:
        if "read-only" in str(error):
            raise broken("writes into the samples it is given", "__call__") from error
        raise
    if not isinstance(found, np.ndarray):
        raise broken(f"gives a {type(found).__name__}", "__call__")
    return found, given
