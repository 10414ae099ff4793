"""Whatever is in a file: a refusal that says what is wrong, or a network that passes its own checks; never more."""

import pytest
from models_campaign import KINDS, run


def test_mutated_files_are_refused_or_sound(tmp_path):
    found = run(tmp_path, 200, 1)
    assert found["failures"] == []
    for kind in KINDS:
        assert found[kind]["refused"] > 0
    assert found["onnx bytes"]["sound"] > 0 and found["onnx fields"]["sound"] > 0


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(20))
def test_twenty_thousand_mutated_files(seed, tmp_path):
    assert run(tmp_path, 1000, seed)["failures"] == []
