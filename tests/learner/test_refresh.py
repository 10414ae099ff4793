"""Stored logits of samples that come back from flash are renewed, in memory and in the store."""

import numpy as np

from edgecl.planning.run_plan import prepare
from edgecl.run import Run


def options(tmp_path, **more):
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(4), 60)
    np.savez(tmp_path / "stream.npz", x=rng.integers(0, 256, (240, 1, 8, 8)).astype(np.uint8), y=y)
    return {
        "stream": str(tmp_path / "stream.npz"), "network": "mlp", "method": "der++", "batch": 8, "memory": 24,
        "memory_policy": "balanced", "epochs": 2, "store": str(tmp_path / "store"), "gate": "all",
        "refresh_logits": True, **more,
    }  # fmt: skip


def test_a_swapped_in_sample_gets_present_logits_once_and_the_store_has_them_too(tmp_path):
    with Run(prepare(options(tmp_path)), "test") as job:
        job.stored.begin()
        loop = job.begin_task()
        while not loop.finished:
            loop.advance()
        job.end_task()
        loop = job.begin_task()
        renewed = []
        refresh = job.core.trainer._refresh
        plain = refresh.renew

        def watched(slots, logits):
            new = np.flatnonzero(refresh._came[slots] == refresh.memory.versions[slots])
            renewed.append((refresh.memory.ids[slots[new]].copy(), logits[new].copy()))
            assert plain(slots, logits) == new.size
            assert plain(slots, logits) == 0  # once a stay
            return new.size

        refresh.renew = watched
        while not loop.finished:
            loop.advance()
        job.core.parts.store.flush()
        latest = {int(i): v for ids, values in renewed for i, v in zip(ids, values)}
        assert len(latest) > 20
        ids = np.array(sorted(latest))
        values, widths = job.core.parts.store.read(ids)["fields"]["logits"]
        assert (widths == 4).all()
        np.testing.assert_array_equal(values[:, :4], np.array([latest[int(i)] for i in ids]))


def test_a_run_with_renewed_logits_repeats(tmp_path):
    matrices = []
    for name in ("a", "b"):
        with Run(prepare(options(tmp_path, store=str(tmp_path / name))), "test") as job:
            matrices.append(job.execute()["accuracy_matrix"])
    assert matrices[0] == matrices[1]
