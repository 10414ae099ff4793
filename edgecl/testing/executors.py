"""check_executor: does an executor keep the contract? Run it in the tests of your own executor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from ..engine.model import Model
from ..fronts.backbone import folded_prefix
from ..fronts.executors import Executor, Native
from ..graph import GraphBuilder
from ..network import Network
from .calls import called

Array = np.ndarray
MakeExecutor = Callable[[], Executor]
ROWS = 6
CLOSE = 1e-3  # largest difference from our kernels, of the largest value


def check_executor(
    make_executor: MakeExecutor, prefixes: Sequence[Network] | None = None, *, close: float = CLOSE
) -> None:
    """Try the executors that ``make_executor()`` returns on prefixes. Raises AssertionError, saying what broke and
    where to read, unless

    - it is an `Executor` with name and contract, and can be used here;
    - its identity holds its name, and another `version` gives another identity;
    - what comes out is float32 of the prefix's shape, finite, the caller's own, and within ``close`` of our kernels;
    - a sample gives the same bits again, alone, among others, from another one made alike, and from four threads;
    - it says its bytes by purpose, or that they are to be `measured`.

    Parameters
    ----------
    prefixes : frozen networks without head, batch norms folded; by default a small one of pictures and one of vectors
    close : for executors that compute in fewer bits
    """
    executor = make_executor()
    _declared(executor)
    for prefix in prefixes or (_pictures(), _vectors()):
        executor = make_executor()
        executor.open(prefix)
        _parts(executor)
        x = _samples(prefix)
        _form(executor, prefix, x, close)
        _constant(make_executor, executor, prefix, x)


def _broken(executor: Executor, what: str, where: str) -> AssertionError:
    return AssertionError(f"Executor '{executor.name}' {what}. Read edgecl.fronts.executors.Executor.{where}.")


def _declared(executor: Executor) -> None:
    if not isinstance(executor, Executor):
        raise AssertionError(f"{executor!r} is no Executor. Read edgecl.fronts.executors.Executor.")
    if not executor.name or " " in executor.name or executor.name == "auto":
        raise _broken(executor, "has no name of one word", "name")
    if executor.contract != Executor.contract:
        raise _broken(executor, f"has contract {executor.contract}, this version {Executor.contract}", "contract")
    if missing := executor.missing():
        raise _broken(executor, f"cannot be used here: it needs {missing}", "missing")
    identity = executor.identity()
    if identity.partition(" ")[0] != executor.name or identity == executor.name:
        raise _broken(executor, f"calls itself '{identity}', which is no name with a version", "identity")


def _parts(executor: Executor) -> None:
    parts = executor.parts
    if not executor.measured and not parts:
        raise _broken(executor, "neither says its bytes nor that they are to be measured", "parts")
    if not all(isinstance(n, int) and n >= 0 for n in parts.values()):
        raise _broken(executor, f"declares the bytes {dict(parts)}", "parts")


def _form(executor: Executor, prefix: Network, x: Array, close: float) -> None:
    graph = prefix.graph
    ours = Native()
    ours.open(prefix)
    expected = np.concatenate([ours(x[i : i + 1]) for i in range(len(x))])
    for rows in (1, 2, ROWS):
        found = _call(executor, x[:rows])
        form = (found.shape, str(found.dtype))
        if form != ((rows, *graph.shapes[graph.logits]), "float32"):
            raise _broken(executor, f"gives {form[1]} {form[0]} for {rows} samples", "__call__")
        if not np.isfinite(found).all():
            raise _broken(executor, "gives values that are not finite", "__call__")
        off = float(np.abs(found - expected[:rows]).max() / max(float(np.abs(expected).max()), 1e-6))
        if off > close:
            raise _broken(executor, f"differs from our kernels by {off:.2g} of the largest value", "__call__")


def _call(executor: Executor, x: Array) -> Array:
    return called(executor, x, partial(_broken, executor))[0]


def _constant(make_executor: MakeExecutor, executor: Executor, prefix: Network, x: Array) -> None:
    first = _call(executor, x)
    kept = first.copy()
    second = _call(executor, x)
    if np.shares_memory(first, second):
        raise _broken(executor, "gives every result in the same memory", "__call__")
    alone = np.concatenate([_call(executor, x[i : i + 1]) for i in range(len(x))])
    other = make_executor()
    other.open(prefix)
    for found, what in (
        (second, "the second time"), (alone, "for a sample alone than among others"),
        (_call(executor, x[::-1])[::-1], "for samples in another order"), (_call(other, x), "when it is made again"),
    ):  # fmt: skip
        if not np.array_equal(kept, found):
            raise _broken(executor, f"gives other bits {what}", "__call__")
    turns = [np.roll(np.arange(len(x)), k) for k in range(16)]
    with ThreadPoolExecutor(4) as threads:
        for turn, found in zip(turns, threads.map(lambda t: executor(x[t]), turns)):
            if not np.array_equal(kept[turn], found):
                raise _broken(executor, "gives other bits while other threads call it", "__call__")


# -- small prefixes


def _pictures() -> Network:
    """uint8 [3, 10, 10] through a strided and a depthwise convolution with TensorFlow's padding, and a sum."""
    g = GraphBuilder("pictures", (3, 10, 10), "uint8")
    x = g.add("normalise", [g.input], name="in", mean=[127.0] * 3, std=[64.0] * 3)
    x = g.add("conv2d", [x], name="stem", out=8, kernel=[3, 3], stride=[2, 2], padding=[0, 0, 1, 1])
    x = g.add("relu6", [g.add("batch_norm", [x], name="norm")], name="act")
    y = g.add("conv2d", [x], name="depth", out=8, kernel=[3, 3], padding=[1, 1], groups=8)
    y = g.add("conv2d", [y], name="point", out=8, kernel=[1, 1], bias=True)
    x = g.add("add", [x, y], name="sum")
    x = g.add("global_avg_pool", [x], name="pooled")
    return _prefix(g.build(g.add("linear", [x], name="logits", out=2, bias=True)), "sum")


def _vectors() -> Network:
    """float32 [12] through a linear layer."""
    g = GraphBuilder("vectors", (12,), "float32")
    x = g.add("normalise", [g.input], name="in", mean=[0.0] * 12, std=[1.0] * 12)
    x = g.add("relu", [g.add("linear", [x], name="hidden", out=9, bias=True)], name="act")
    return _prefix(g.build(g.add("linear", [x], name="logits", out=2, bias=True)), "act")


def _prefix(graph, tensor: str) -> Network:  # type: ignore[no-untyped-def]
    model = Model(graph, np.random.default_rng(0))
    return folded_prefix(Network(graph, {n: model[n].dense() for n in graph.parameters}), tensor)


def _samples(prefix: Network) -> Array:
    graph, rng = prefix.graph, np.random.default_rng(1)
    if graph.input_dtype == "uint8":
        return rng.integers(0, 256, (ROWS, *graph.input_shape), np.uint8)
    return rng.normal(size=(ROWS, *graph.input_shape)).astype(np.float32)
