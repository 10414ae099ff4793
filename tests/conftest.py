"""Shared by several folders: engines under test, and a tiny stream made here."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a script's background; tests' processes would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory):
    """Converted data goes to a cache folder of the test session; a folder of tests asks for it with `own_cache`."""
    before = os.environ.get("EDGECL_CACHE")
    os.environ["EDGECL_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["EDGECL_CACHE"]
    else:
        os.environ["EDGECL_CACHE"] = before


@pytest.fixture(params=["clear", "encrypted"])
def root(request, tmp_path):
    """None for what lies in the clear, or the root key of what is encrypted."""
    if request.param == "clear":
        return None
    pytest.importorskip("cryptography")
    from edgecl.storage import KeyFile

    return KeyFile(tmp_path / "root.key")


@pytest.fixture(params=["native", "torch"])
def engine_for(request):
    """engine_for(model, optimizer=Optimizer(), densities=None): an engine for batches of at most 64.
    Native always, torch where it is installed.
    """
    from edgecl.compiler import Optimizer, Plan, compile_plan
    from edgecl.engine.native import NativeEngine

    def make(model, optimizer=None, densities=None):
        optimizer = optimizer or Optimizer()
        if request.param == "native":
            plan = compile_plan(model.graph, batch=64, predict_batch=64, densities=densities, optimizer=optimizer)
            return NativeEngine(model, plan)
        pytest.importorskip("torch").set_num_threads(1)
        from edgecl.engine.torch import TorchEngine

        return TorchEngine(model, Plan(model.graph, 64, 64, optimizer))

    return make


@pytest.fixture(scope="session")
def stream(tmp_path_factory) -> str:
    """An npz with something to learn and to forget: 4 classes of 12x12 images, 2 tasks."""
    rng = np.random.default_rng(7)
    # classes share most of their picture, so that training on two of them forgets the other two
    patterns = rng.integers(60, 180, (12, 12)) + rng.normal(0, 12, (4, 12, 12))
    y = np.repeat(np.arange(4), 60)
    x = np.clip(patterns[y] + rng.normal(0, 12, (y.size, 12, 12)), 0, 255).astype(np.uint8)
    path = tmp_path_factory.mktemp("stream") / "tiny.npz"
    np.savez(path, x=x, y=y)
    return str(path)
