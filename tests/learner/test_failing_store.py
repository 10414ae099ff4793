"""A store that can take no more: `observe` says so with a type, learning, swapping and prediction go on."""

import os
import subprocess

import numpy as np
import pytest
from edgecl.storage.errors import StoreFull

from edgecl import Learner


@pytest.fixture
def small(tmp_path):
    """A file system of 3 MB of its own."""
    if os.getuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", tmp_path]).returncode:
        pytest.skip("needs root to mount a small file system")
    yield tmp_path
    subprocess.run(["umount", "-l", tmp_path])


def test_learning_goes_on_beside_a_full_card(small):
    rng = np.random.default_rng(0)
    options = {"input_shape": (1, 12, 12), "mean": (120.0,), "std": (40.0,), "batch": 16, "memory": 40, "lr": 0.01}
    with Learner("mlp", method="er", gate="all", store=str(small / "s"), **options) as ours:
        for label in ("cat", "dog"):
            x = rng.integers(0, 256, (200, 1, 12, 12)).astype(np.uint8)
            ours.observe(x, [label] * len(x))
            ours.learn(steps=20)
            ours.end_task()
        (small / "ballast").write_bytes(bytes(os.statvfs(small).f_bavail * os.statvfs(small).f_frsize - (200 << 10)))
        with pytest.raises(StoreFull) as caught:
            for _ in range(50):
                ours.observe(x, ["dog"] * len(x)).wait()
                ours.learn(steps=2)
        assert caught.value.remedy
        log = ours.learn(steps=20)
        assert log.steps == 20 and ours.predict(x[0]) in ("cat", "dog")
        (small / "ballast").unlink()
        ours.observe(x, ["cat"] * len(x)).wait()
        assert ours.learn(steps=5).steps == 5


def test_a_label_that_found_the_card_full_is_stored_with_its_next_sample(small):
    """Else a restart would give its head unit to another label."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (20, 1, 12, 12)).astype(np.uint8)
    options = {"input_shape": (1, 12, 12), "method": "er", "memory": 40, "store": str(small / "s")}
    with Learner("mlp", **options) as ours:
        ours.observe(x, "cat").wait()
        full = os.statvfs(small)
        (small / "ballast").write_bytes(bytes(full.f_bavail * full.f_frsize))
        with pytest.raises(StoreFull):
            for n in range(2000):  # the index has some room of its own
                ours.observe(x[:1], f"bird {n}")
        (small / "ballast").unlink()
    with Learner("mlp", **options) as ours:  # a change of the index that failed closes the store for writing
        ours.observe(x, f"bird {n}").wait()
        labels = ours.labels
    with Learner("mlp", **options) as again:  # what a crash leaves: the store
        assert again.labels == labels
