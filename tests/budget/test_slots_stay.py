"""500 slots of a stream of pictures stay in the memory of small boards."""

import numpy as np
import pytest

from edgecl.planning.run_plan import prepare


@pytest.mark.parametrize(("side", "ram"), [(96, "128MB"), (32, "64MB")])
def test_500_slots_stay(side, ram, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 255, (60, 3, side, side)).astype(np.uint8)
    np.savez(tmp_path / "colour.npz", x=x, y=np.repeat(np.arange(4), 15))
    prepared = prepare({"stream": str(tmp_path / "colour.npz"), "ram": ram}, baseline=50_000_000)
    prepared.stream.close()
    assert prepared.config.memory == 500
    assert prepared.plan.peak_bytes <= 0.95 * prepared.budget.ram
    assert any("batch lowered" in choice for choice in prepared.plan.choices)
