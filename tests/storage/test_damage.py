"""Whatever happens to the bytes, a damaged record is never served and the others stay."""

import shutil

import numpy as np
import pytest
from damage_campaign import KINDS, damage, of_index, run
from edgecl.storage import Carousel, EpisodicMemory, SampleStore
from edgecl.storage.errors import StoreError
from hypothesis import given, settings
from hypothesis import strategies as st
from store_samples import SCHEMA, logits_of, sample_of

STRIDE = 24 + SCHEMA.sample_bytes
N = 400


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A store with several segments, field files and an open tail, cleanly closed."""
    path = tmp_path_factory.mktemp("sound") / "s"
    with SampleStore(path, SCHEMA, limit_bytes=1 << 20) as store:
        store.meta_set({"who": b"me"})
        for at in range(0, 4000, 200):
            ids = at + np.arange(200)
            store.append(sample_of(ids), ids % 3, fields={"logits": logits_of(ids)})
        assert store.stats()["segments"] >= 4
    return path


def copy(sound, tmp):
    shutil.copytree(sound, tmp / "s")
    return tmp / "s"


def check(store, n=4000):
    """Everything served is right; the ids that are not served."""
    batch = store.read(range(n))
    ok = batch["ok"]
    ids = np.flatnonzero(ok)
    assert (batch["samples"][ok] == sample_of(ids)).all()
    assert (batch["classes"][ok] == ids % 3).all()
    values, widths = batch["fields"]["logits"]
    full = widths == 4
    assert set(widths.tolist()) <= {0, 4} and (values[full] == logits_of(np.flatnonzero(full))).all()
    for c in store.classes():
        assert set(store.ids_of_class(c).tolist()) <= set(ids.tolist())
    return set(range(n)) - set(ids.tolist())


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_flipped_bytes_anywhere_in_the_segments(sound, tmp_path_factory, data):
    path = copy(sound, tmp_path_factory.mktemp("d"))
    files = sorted((path / "segments").iterdir())
    hit = set()
    for _ in range(data.draw(st.integers(1, 4))):
        file = data.draw(st.sampled_from(files))
        raw = bytearray(file.read_bytes())
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] ^= data.draw(st.integers(1, 255))
        file.write_bytes(raw)
        if file.suffix == ".seg" and at >= 64:
            hit.add((file.name, (at - 64) // STRIDE))
    with SampleStore(path, limit_bytes=1 << 20) as store:
        lost = check(store)
        assert len(lost) <= len(hit)
        named = {d.id for d in store.verify() if d.id is not None}
        assert lost == named
        assert store.count == 4000 - len(lost) and store.next_id == 4000
        store.append(sample_of([4000]), 1)
        assert check(store, 4001) == lost if 4000 % 3 == 1 else True


def test_the_open_segment_cut_at_every_offset_of_its_end(sound, tmp_path):
    path = copy(sound, tmp_path)
    tail = sorted((path / "segments").glob("*.seg"))[-1]
    shutil.copytree(path, tmp_path / "keep")
    size = tail.stat().st_size
    first = 4000 - (size - 64) // STRIDE
    for cut in [*range(size - STRIDE - 3, size), 64, 63, 10, 0]:
        shutil.rmtree(path)
        shutil.copytree(tmp_path / "keep", path)
        # a crash: the commit point does not vouch for the last records
        with SampleStore(path, limit_bytes=1 << 20) as store:
            commit, _ = store._db.load()
            commit.tail_end, commit.next_id, commit.physical_next = 64, first, first
            commit.view_first = np.zeros_like(commit.view_first)
            store._db.commit(commit)
            store._commit = lambda *a, **k: None
        with open(tail, "r+b") as file:
            file.truncate(cut)
        left = max(0, (cut - 64) // STRIDE)
        with SampleStore(path, limit_bytes=1 << 20) as store:
            assert store.next_id == first + left
            assert check(store) == set(range(first + left, 4000))
            assert store.verify() == []
            ids = store.next_id + np.arange(5)
            store.append(sample_of(ids), ids % 3, fields={"logits": logits_of(ids)})
            assert not check(store, int(ids[-1]) + 1)


def test_what_was_vouched_for_and_is_gone_is_listed(sound, tmp_path):
    path = copy(sound, tmp_path)
    tail = sorted((path / "segments").glob("*.seg"))[-1]
    size = tail.stat().st_size
    with open(tail, "r+b") as file:
        file.truncate(size - STRIDE - 1)
    with SampleStore(path, limit_bytes=1 << 20) as store:
        assert check(store) == {3998, 3999} == {d.id for d in store.verify()}
        assert store.next_id == 4000


def test_a_lost_segment_costs_its_records_only(sound, tmp_path):
    path = copy(sound, tmp_path)
    victim = sorted((path / "segments").glob("*.seg"))[1]
    n = (victim.stat().st_size - 64) // STRIDE
    victim.unlink()
    with SampleStore(path, limit_bytes=1 << 20) as store:
        lost = check(store)
        assert 0 < len(lost) <= n and store.next_id == 4000


@pytest.mark.parametrize("how", ["removed", "zeros", "random", "cut"])
def test_the_segments_are_the_truth_when_the_index_is_lost(sound, tmp_path, how):
    path = copy(sound, tmp_path)
    file = path / "index" / "data.mdb"
    if how == "removed":
        shutil.rmtree(path / "index")
    elif how == "cut":
        file.write_bytes(file.read_bytes()[:5000])
    else:
        size = file.stat().st_size
        raw = bytes(size) if how == "zeros" else np.random.default_rng(0).bytes(size)
        file.write_bytes(raw)
    with SampleStore(path, limit_bytes=1 << 20) as store:
        assert store.rebuilt and check(store) == set() and store.next_id == 4000
        assert store.verify() == []
    with SampleStore(path, limit_bytes=1 << 20) as store:
        assert not store.rebuilt and check(store) == set()


def test_flipped_bytes_in_the_index(sound, tmp_path):
    rng = np.random.default_rng(1)
    size = (sound / "index" / "data.mdb").stat().st_size
    for i in range(40):
        path = copy(sound, tmp_path / str(i))
        file = path / "index" / "data.mdb"
        raw = bytearray(file.read_bytes())
        page = i % (size // 4096) * 4096
        for at in page + rng.integers(0, 4096, 8):
            raw[at] ^= 1 << int(rng.integers(8))
        file.write_bytes(raw)
        try:
            with SampleStore(path, limit_bytes=1 << 20) as store:
                assert check(store) == set()
        except StoreError as error:
            assert error.cause
        shutil.rmtree(tmp_path / str(i))


def test_damage_at_boundaries_and_in_pages_of_the_index_costs_what_it_hit_and_nothing_else(tmp_path):
    row = damage(tmp_path, 301, 7, ("raw, compacted", "zstd", "raw, many compacted segments"))
    assert not row["failures"] and row["rounds"] > 20


def test_flags_of_an_indexs_trees_that_are_not_as_written_kill_nobody(tmp_path):
    of_flags = {f"page {page} bit {8 * at + bit}" for page in (0, 1) for at in (44, 45, 92, 93) for bit in range(8)}
    cases = lambda path, rng: (case for case in of_index(path, rng) if case.what in of_flags)  # noqa: E731
    counts, wrong = run(KINDS[0], tmp_path / "d", cases, 1)
    assert not wrong and counts["bit flips"] >= len(of_flags)


def test_the_open_file_of_an_index_that_is_cut_kills_nobody(sound, tmp_path):
    path = copy(sound, tmp_path)
    with pytest.raises(StoreError, match="cut off"), SampleStore(path, limit_bytes=1 << 20) as store:
        (path / "index" / "data.mdb").write_bytes(b"")
        store.meta_set({"a": b"1"})


def test_a_file_of_which_nothing_came_to_flash_hides_no_other(sound, tmp_path):
    """A power cut leaves a merged segment's name and size, and none of its bytes."""
    path = copy(sound, tmp_path)
    with SampleStore(path, limit_bytes=1 << 20) as store:
        store.compact()
    last = max(path.glob("segments/*.seg"))
    junk = last.with_name(f"{int(last.stem, 16) + 1:08x}.seg")
    junk.write_bytes(bytes(60_000))
    with SampleStore(path, limit_bytes=1 << 20) as store:
        assert check(store) == set() and store.verify() == []
        ids = store.next_id + np.arange(5)
        store.append(sample_of(ids), ids % 3, fields={"logits": logits_of(ids)})
    assert not junk.exists()


@pytest.mark.parametrize("rest", [b"", b"rot" * 4000])
def test_small_values_survive_a_lost_index(sound, tmp_path, rest):
    path = copy(sound, tmp_path)
    (path / "index" / "data.mdb").write_bytes(rest)
    with SampleStore(path, limit_bytes=1 << 20) as store:
        assert store.rebuilt and store.meta_get("who") == b"me"


def test_a_damaged_record_never_enters_the_memory(sound, tmp_path):
    path = copy(sound, tmp_path)
    for file in (path / "segments").glob("*.seg"):
        raw = bytearray(file.read_bytes())
        for at in range(64 + 30, len(raw) - 4000, 2 * STRIDE):
            raw[at] ^= 1
        file.write_bytes(raw)
    rng = np.random.default_rng(0)
    with SampleStore(path, limit_bytes=1 << 20) as store:
        memory = EpisodicMemory(30, SCHEMA)
        memory.put_many(range(30), sample_of(range(30)), np.arange(30) % 3, range(30))
        with Carousel(store, memory) as carousel:
            for step in range(40):
                carousel.begin_step(step)
                carousel.request(step, memory.draw(rng, 10), rng)
            counters = carousel.counters
            assert counters["swaps_done"] > 50 and counters["swaps_dropped"] > 50
            assert {reason for _, _, reason in carousel.log} == {"damaged"}
        assert (memory.samples == sample_of(memory.ids)).all()
        assert store.stats()["damaged"] >= 50
