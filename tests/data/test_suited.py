"""Options of a run that suit a user's data: a network by the shape of a sample, epochs by how few samples there are."""

import numpy as np
import pytest

from edgecl.config import Config
from edgecl.data import configured_stream, load_stream
from edgecl.data.suited import EPOCHS, MOST_EPOCHS, enough_epochs


@pytest.mark.parametrize(("sizes", "epochs"), [([800] * 5, 10), ([12000] * 2, 10), ([80] * 5, 84), ([433] * 3, 18),
                                               ([4, 6], 100), ([80, 80, 5000], 84)])  # fmt: skip
def test_a_middle_task_takes_enough_steps(sizes, epochs):
    assert enough_epochs(sizes) == epochs


def test_they_never_fall_below_the_default_nor_rise_without_end():
    found = [enough_epochs([n]) for n in range(1, 3000, 7)]
    assert found == sorted(found, reverse=True) and min(found) == EPOCHS and max(found) == MOST_EPOCHS


def test_a_user_s_few_samples_are_seen_more_often_than_those_of_named_streams(tmp_path):
    y = np.repeat(np.arange(4), 50)
    np.savez(tmp_path / "few.npz", x=np.random.default_rng(0).integers(0, 255, (200, 8, 8), np.uint8), y=y)
    stream = load_stream(tmp_path / "few.npz")
    assert stream.defaults["epochs"] == enough_epochs([len(t.train) for t in stream.tasks]) > EPOCHS
    assert load_stream("split-digits").defaults["epochs"] == EPOCHS
    options = {"stream": str(tmp_path / "few.npz")}
    given = Config.make({**options, "epochs": 3}, configured_stream(Config.make(options)).defaults)
    assert given.epochs == 3


def test_defaults_of_one_stream_do_not_leak_into_another(tmp_path):
    for n in (20, 200):
        np.savez(tmp_path / f"{n}.npz", x=np.random.default_rng(0).normal(size=(4 * n, 6)), y=np.repeat(range(4), n))
    few, more = (load_stream(tmp_path / f"{n}.npz").defaults["epochs"] for n in (20, 200))
    assert few > more >= EPOCHS and load_stream(tmp_path / "20.npz").defaults["epochs"] == few
