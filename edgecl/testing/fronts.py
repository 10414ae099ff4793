"""check_front: does a front keep the contract? Run it in the tests of your own front."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from ..budget.meters import peak_resident
from ..checkpoint import from_bytes, to_bytes
from ..errors import BadInput
from ..fronts.base import DTYPES, ROWS, Front
from ..options import Option, options_of
from .calls import called
from .forked import measured, new_peak

Array = np.ndarray
MakeFront = Callable[[], Front]
MB = 1_000_000
FEW = 6  # samples that are tried alone, in other orders, by other threads
SMALL = 65_536  # bytes of Python's own objects that nobody declares
SLOWEST, FASTEST = 1e5, 1e12  # FLOPs a second that any front may do; what is declared must lie between


def check_front(
    make_front: MakeFront, shape: tuple[int, ...], dtype: str = "float32", *, samples: Array | None = None
) -> None:
    """Try the fronts that ``make_front()`` returns on raw samples of ``shape`` and ``dtype``. Raises AssertionError,
    saying what broke and where to read, unless

    - it can be made again from its options and `state`, with the same digest and bits;
    - another `version`, another state, and other options, unless they change no bit, give another digest;
    - samples of another form are refused with `BadInput`, before anything is made;
    - what comes out has the declared shape and dtype, is finite, and is the caller's own;
    - a sample gives the same bits again, alone, among others, in another front made alike, and from four threads;
    - it takes the declared bytes (in a child process, Linux): no more than 5 % + 64 kB of what Python allocates and
      5 % + 1 MB of what becomes resident, no less than 5 % + 1 MB; and FLOPs that its speed can be true for.

    Parameters
    ----------
    make_front : returns a new front each time
    samples : raw samples [n, *shape], n at least 3; by default drawn: -1 to 1, or over the range of a whole dtype
    """
    made = _declared(make_front)
    x = _samples(shape, dtype) if samples is None else np.ascontiguousarray(samples, dtype)
    if len(x) < 3 or x.shape[1:] != tuple(shape):
        raise BadInput(f"samples are {x.shape}.", f"Give at least 3 of shape {tuple(shape)}.")
    x = x[np.arange(ROWS) % len(x)]
    _refuses(make_front, shape, dtype)
    front = made.placed(shape, dtype)
    if made.raw_shape:
        raise _broken(made, "was changed when another was placed", "placed")
    _cost(make_front, x)
    _form(front, x)
    _constant(make_front, front, x[:FEW])
    _made_again(front, x[:FEW])
    _digests(make_front, front, x[:FEW])


def _samples(shape: tuple[int, ...], dtype: str) -> Array:
    rng, kind = np.random.default_rng(0), np.dtype(dtype)
    if kind.kind in "iu":
        about = np.iinfo(kind)
        return rng.integers(about.min, about.max, (ROWS, *shape), kind, endpoint=True)
    return rng.uniform(-1, 1, (ROWS, *shape)).astype(kind)


def _broken(front: Front, what: str, where: str) -> AssertionError:
    return AssertionError(f"Front '{front.name}' {what}. Read edgecl.fronts.Front.{where}.")


# -- what it is


def _declared(make_front: MakeFront) -> Front:
    front = make_front()
    if not isinstance(front, Front):
        raise AssertionError(f"{front!r} is no Front. Read edgecl.fronts.Front.")
    if not front.name:
        raise AssertionError(f"{type(front).__name__} has no name. Read edgecl.fronts.Front.")
    if front.contract != Front.contract:
        raise _broken(front, f"has contract {front.contract}, this version {Front.contract}", "contract")
    try:
        json.dumps(front.hyper())
    except TypeError as error:
        raise _broken(front, f"has options that are no plain values: {error}", "__init__") from error
    return front


def _form(front: Front, x: Array) -> None:
    """Declared shape, dtype and figures, and results of that form for batches of any size."""
    if front.dtype not in DTYPES or not front.shape or not all(isinstance(n, int) and n > 0 for n in front.shape):
        raise _broken(front, f"declares {front.dtype} of shape {front.shape}", "shape")
    for name in ("bytes", "flops"):
        value = getattr(front, name)
        if not isinstance(value, int) or value < 0:
            raise _broken(front, f"declares {name} {value!r}, which is no whole number", name)
    for given in (front.mean, front.std):
        if given is not None and len(given) != front.shape[0]:
            raise _broken(front, f"declares {len(given)} figures for {front.shape[0]} channels", "mean")
    for rows in (1, 2, ROWS - 1, ROWS):
        found = _call(front, x[:rows])
        form = (found.shape, str(found.dtype))
        if form != ((rows, *front.shape), front.dtype):
            raise _broken(front, f"gives {form[1]} {form[0]}, and declares {front.dtype} {front.shape}", "shape")
        if not np.isfinite(found).all():
            raise _broken(front, "gives values that are not finite", "__call__")


def _call(front: Front, x: Array) -> Array:
    """Its results for samples that it cannot write to."""
    found, given = called(front, x, partial(_broken, front))
    if np.shares_memory(found, given):
        raise _broken(front, "gives a view of the samples it was given", "__call__")
    return found


def _refuses(make_front: MakeFront, shape: tuple[int, ...], dtype: str) -> None:
    for wrong, kind in (((), dtype), ((*shape, 2), dtype), (shape, "complex64")):
        try:
            make_front().placed(wrong, kind)
        except BadInput:
            continue
        except Exception as error:
            how = f"meets {kind} samples of shape {wrong} with {type(error).__name__}, not with BadInput"
            raise _broken(make_front(), how, "prepare") from error
        raise _broken(make_front(), f"takes {kind} samples of shape {wrong}", "prepare")


# -- that it is constant


def _constant(make_front: MakeFront, front: Front, x: Array) -> None:
    first = _call(front, x)
    kept = first.copy()
    second = _call(front, x)
    if np.shares_memory(first, second):
        raise _broken(front, "gives every result in the same memory", "__call__")
    _same(front, kept, second, "gives other bits the second time")
    alone = np.concatenate([_call(front, x[i : i + 1]) for i in range(len(x))])
    _same(front, kept, alone, "gives other bits for a sample alone than among others")
    _same(front, kept, _call(front, x[::-1])[::-1], "gives other bits for samples in another order")
    _same(front, kept, _call(make_front().placed(front.raw_shape, front.raw_dtype), x), "made again gives other bits")
    turns = [np.roll(np.arange(len(x)), k) for k in range(16)]
    with ThreadPoolExecutor(4) as threads:
        for turn, found in zip(turns, threads.map(lambda t: front(x[t]), turns)):
            _same(front, kept[turn], found, "gives other bits while other threads call it")


def _same(front: Front, one: Array, other: Array, what: str) -> None:
    if not np.array_equal(one, other):
        raise _broken(front, what, "__call__")


def _made_again(front: Front, x: Array) -> None:
    """From options and state, as a saved learner is opened."""
    try:
        saved = from_bytes(to_bytes(front.state()))
    except TypeError as error:
        raise _broken(front, f"has a state that cannot be saved: {error}", "state") from error
    again = type(front)(**front.given)
    again.load(saved)
    again = again.placed(front.raw_shape, front.raw_dtype)
    if again.digest != front.digest:
        raise _broken(front, "made again from options and state has another digest", "state")
    _same(front, _call(front, x), _call(again, x), "made again from options and state gives other bits")


def _digests(make_front: MakeFront, front: Front, x: Array) -> None:
    newer = type(front)(**front.given)
    newer.load(front.state())
    newer.version = front.version + 1  # type: ignore[misc]
    digests = {"another version": newer.placed(front.raw_shape, front.raw_dtype).digest}
    for name, value in _others(front):
        options = {**front.given, name: value}
        try:
            changed = type(front)(**options)
            changed.load(front.state())
            changed = changed.placed(front.raw_shape, front.raw_dtype)
        except BadInput:
            continue
        if changed.digest != front.digest or not _alike(front, changed, x):
            digests[f"{name}={value!r}"] = changed.digest
    for what, digest in digests.items():
        if digest == front.digest:
            raise _broken(front, f"has the same digest with {what}", "digest")
    if not front.digest == make_front().placed(front.raw_shape, front.raw_dtype).digest:
        raise _broken(front, "made again has another digest", "digest")


def _alike(front: Front, other: Front, x: Array) -> bool:
    """Whether two fronts give the same bits; one that fails gives none."""
    try:
        return np.array_equal(_call(front, x), _call(other, x))
    except Exception:
        return False


def _others(front: Front) -> Iterator[tuple[str, Any]]:
    """For every option values beside its own; those that it cannot have are passed over later."""
    known: Mapping[str, Option] = options_of(type(front))
    for name, about in known.items():
        now = getattr(front, name)
        if isinstance(now, bool):
            yield name, not now
        elif isinstance(now, (int, float)):
            yield from ((name, type(now)(v)) for v in (now + 1, now * 2, now - 1, now / 2) if type(now)(v) != now)
        else:
            words = str(getattr(about.parse, "metavar", str)()).split("|")
            yield from ((name, w) for w in (*words, 1, 10) if w != now)


# -- what it costs


def _cost(make_front: MakeFront, x: Array) -> None:
    """In a child, and before anything else: tables that a class keeps for all its fronts are not there yet."""
    shape, dtype = x.shape[1:], x.dtype.name

    def taken() -> dict[str, Any]:
        tracemalloc.start()
        front = make_front().placed(shape, dtype)
        result = front(x).nbytes
        peak = tracemalloc.get_traced_memory()[1] - result
        tracemalloc.stop()
        del front
        before = new_peak()
        front = make_front().placed(shape, dtype)
        front(x)
        resident = peak_resident() - before - result
        began = time.process_time()
        front(x)
        return {"resident": resident, "allocated": peak, "seconds": (time.process_time() - began) / len(x)}

    front, found = make_front().placed(shape, dtype), measured(taken)
    _bytes(front, found["resident"], found["allocated"])
    rate = front.flops / max(found["seconds"], 1e-9)
    if rate > FASTEST or (rate < SLOWEST and found["seconds"] > 1e-4):
        milliseconds = found["seconds"] * 1e3
        raise _broken(front, f"declares {front.flops} FLOPs for a sample that takes {milliseconds:.3g} ms", "flops")


def _bytes(front: Front, resident: int, allocated: int) -> None:
    most, least = 1.05 * front.bytes, 0.95 * front.bytes - MB
    if allocated > most + SMALL or resident > most + MB:
        more = f"allocates {allocated / MB:.3g} MB, {resident / MB:.3g} MB become resident"
        raise _broken(front, f"{more}, declared are {front.bytes / MB:.3g} MB", "bytes")
    if max(allocated, resident) < least:
        took = max(allocated, resident) / MB
        raise _broken(front, f"takes {took:.3g} MB, declared are {front.bytes / MB:.3g} MB", "bytes")
