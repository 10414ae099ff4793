"""Raw signals with something to learn, and a cache folder of the test session."""

from __future__ import annotations

import numpy as np
import pytest
from raw import raw_signals


@pytest.fixture(scope="session", autouse=True)
def own_cache(session_cache):
    pass


@pytest.fixture(scope="session")
def raw_stream(tmp_path_factory) -> str:
    """An npz of raw signals: 6 classes in 3 tasks."""
    path = tmp_path_factory.mktemp("raw") / "raw.npz"
    np.savez(path, x=np.concatenate([raw_signals(u, 24) for u in range(6)]), y=np.repeat(np.arange(6), 24))
    return str(path)
