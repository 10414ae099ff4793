import pytest

from edgecl.graph.builders import build


@pytest.fixture
def net():
    """A small net whose two hidden layers are prunable."""
    return build("mlp", (12,), 4, input_dtype="float32", hidden=(20, 20))
