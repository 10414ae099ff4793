"""auto: onnxruntime where it is there, fits and is faster; else our kernels. Both are tried, and the reason is said."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from ...errors import EdgeclError, MissingExtra
from .base import Executor
from .registry import AUTO, EXECUTORS
from .trial import Trial, tried

if TYPE_CHECKING:
    from ...network import Network

OURS, THEIRS = "native", "onnxruntime"


class Chosen(NamedTuple):
    """An executor that is not open yet, why it was chosen, and what was measured of it and of others by name."""

    executor: Executor
    reason: str
    trials: dict[str, Trial]


def chosen(wanted: str, prefix: Network, room: int | None) -> Chosen:
    """The executor called ``wanted``; ``auto`` tries. ``room``: bytes that it may take, None without a budget of RAM.

    Raises `MissingExtra` for one that cannot be used here.
    """
    if wanted != AUTO:
        executor = EXECUTORS.get(wanted)()
        if missing := executor.missing():
            raise MissingExtra(f"The executor '{wanted}' needs {missing}.", "Install it, or use --executor native.")
        return Chosen(executor, "as asked", {wanted: tried(prefix, executor)} if executor.measured else {})
    ours, theirs = (EXECUTORS.get(name)() for name in (OURS, THEIRS))
    missing = theirs.missing() or (None if find_spec("onnx") else "the package 'onnx' (pip install 'edgecl[onnx]')")
    if missing:
        return Chosen(ours, f"{THEIRS} needs {missing}", {})
    try:
        trials = {OURS: tried(prefix, ours), THEIRS: tried(prefix, theirs)}
    except EdgeclError as error:
        return Chosen(ours, f"{THEIRS} failed its trial: {error.cause}", {})
    said = ", ".join(f"{n} {t.bytes / 1e6:.0f} MB and {t.milliseconds:.1f} ms a sample" for n, t in trials.items())
    mine, other = trials[OURS], trials[THEIRS]
    if room is not None and other.bytes > room:
        return Chosen(ours, f"{THEIRS} does not fit into {room / 1e6:.0f} MB: {said}", trials)
    if other.milliseconds >= mine.milliseconds:
        return Chosen(ours, f"it is as fast: {said}", trials)
    return Chosen(theirs, f"it is faster, and fits: {said}", trials)
