"""A small pretrained network, and a cache folder of the test session."""

from __future__ import annotations

import pytest
from nets import pretrained

pytest.importorskip("edgecl._kernels")


@pytest.fixture(scope="session", autouse=True)
def own_cache(session_cache):
    pass


@pytest.fixture(scope="session")
def network():
    return pretrained()


@pytest.fixture(scope="session")
def file(network, tmp_path_factory):
    """The same network in a file."""
    return str(network.save(tmp_path_factory.mktemp("nets") / "small.edgecl"))


@pytest.fixture(scope="session")
def stream(tmp_path_factory):
    """An npz of pictures: 4 classes in 2 tasks."""
    import numpy as np
    from nets import pictures

    path = tmp_path_factory.mktemp("raw") / "pictures.npz"
    np.savez(path, x=np.concatenate([pictures(u, 20) for u in range(4)]), y=np.repeat(np.arange(4), 20))
    return str(path)
