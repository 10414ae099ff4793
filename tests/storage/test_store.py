import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from edgecl.storage import EpisodicMemory, FieldSpec, SampleStore, StreamSchema, opening
from edgecl.storage.errors import BadRecord, ReplayMismatch
from edgecl.storage.ticket import interval
from hypothesis import given, settings
from hypothesis import strategies as st
from store_samples import SCHEMA, logits_of, sample_of


def contents(store):
    ids = np.concatenate([np.zeros(0, np.int64), *(store.ids_of_class(c) for c in store.classes())])
    ids.sort()
    batch = store.read(ids)
    assert batch["ok"].all()
    assert (batch["samples"] == sample_of(ids, store.schema)).all()
    return ids.tolist(), batch["classes"].tolist()


def test_a_sample_comes_back_with_everything_that_was_stored(tmp_path):
    with SampleStore(tmp_path / "s", SCHEMA) as store:
        ticket = store.append(
            sample_of([0, 1, 2]), [4, -1, 9], subjects=[7, -1, 8], times=[1.5, 1e9 + 0.001, -3.25],
            fields={"logits": logits_of([0, 1, 2]), "weight": [[1.0], [2.0], [3.0]]})  # fmt: skip
        assert ticket.ids.tolist() == [0, 1, 2]
        batch = store.read([2, 0, 1, 5])
        assert batch["ok"].tolist() == [True, True, True, False]
        assert (batch["samples"][:3] == sample_of([2, 0, 1])).all() and not batch["samples"][3].any()
        assert batch["classes"].tolist() == [9, 4, -1, -1]
        assert batch["subjects"].tolist() == [8, 7, -1, -1]
        assert batch["times"][:3].tolist() == [-3.25, 1.5, 1e9 + 0.001]
        values, widths = batch["fields"]["logits"]
        assert widths.tolist() == [4, 4, 4, 0] and (values[:3] == logits_of([2, 0, 1])).all()
        assert batch["fields"]["weight"][0][:3, 0].tolist() == [3, 1, 2]
        assert store.classes() == [-1, 4, 9] and store.subjects() == [7, 8]
        assert store.ids_of_subject(8).tolist() == [2]


def test_logits_keep_the_width_they_had_and_the_latest_win(tmp_path):
    with SampleStore(tmp_path / "s", SCHEMA) as store:
        store.append(sample_of(range(4)), 0)
        store.update_field("logits", [0, 1], logits_of([0, 1], 2))
        store.update_field("logits", [1, 2], logits_of([51, 52], 6))
    with SampleStore(tmp_path / "s") as store:
        values, widths = store.read(range(4))["fields"]["logits"]
        assert widths.tolist() == [2, 6, 6, 0]
        assert (values[1] == logits_of([51], 6)).all() and (values[0, :2] == logits_of([0], 2)).all()
        assert not values[0, 2:].any() and not values[3].any()


@settings(deadline=None, max_examples=15)
@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 5)), min_size=1, max_size=12), st.booleans())
def test_reopening_changes_nothing(tmp_path_factory, parts, close_between):
    path = tmp_path_factory.mktemp("s")
    store = SampleStore(path, SCHEMA, limit_samples=150)
    for n, spread in parts:
        ids = store.next_id + np.arange(n)
        store.append(sample_of(ids), ids % (spread + 1))
        if close_between:
            store.close()
            store = SampleStore(path, SCHEMA, limit_samples=150)
    before = contents(store), store.next_id
    store.close()
    with SampleStore(path, limit_samples=150) as again:
        assert (contents(again), again.next_id) == before
        assert again.verify() == []


def test_many_segments_hold_what_one_would(tmp_path, fill):
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 7, 3000)
    with SampleStore(tmp_path / "s", SCHEMA, limit_bytes=4 << 20) as store:
        fill(store, classes, logits=True)
        assert store.stats()["segments"] > 1
        assert contents(store) == (list(range(3000)), classes.tolist())
    with SampleStore(tmp_path / "s", limit_bytes=4 << 20) as store:
        assert contents(store) == (list(range(3000)), classes.tolist())
        for c in range(7):
            assert store.ids_of_class(c).tolist() == np.flatnonzero(classes == c).tolist()
            assert store.kth(c, 3) == np.flatnonzero(classes == c)[3]
            assert store.kth(c, store.count_of(c)) == -1
        values, widths = store.read(range(3000))["fields"]["logits"]
        assert (values == logits_of(range(3000))).all() and (widths == 4).all()


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=400), st.integers(1, 60))
def test_eviction_takes_the_oldest_of_the_largest_class(tmp_path_factory, classes, limit):
    model = {}
    for id_, c in enumerate(classes):
        model.setdefault(c, []).append(id_)
        while sum(map(len, model.values())) > limit:
            most = max(map(len, model.values()))
            model[min(c for c in model if len(model[c]) == most)].pop(0)
    with SampleStore(tmp_path_factory.mktemp("s"), SCHEMA, limit_samples=limit) as store:
        store.append(sample_of(range(len(classes))), classes)
        assert {c: store.ids_of_class(c).tolist() for c in store.classes()} == {c: v for c, v in model.items() if v}
        assert store.count == min(limit, len(classes))
        gone = sorted(set(range(len(classes))) - {i for v in model.values() for i in v})
        assert not store.read(gone)["ok"].any()


@pytest.mark.parametrize("kind", ["even", "tasks", "skewed"])
def test_a_byte_limit_is_kept_and_the_space_returned(tmp_path, fill, kind):
    rng = np.random.default_rng(1)
    n, limit = 30_000, 1 << 20
    classes = {
        "even": rng.integers(0, 5, n),
        "tasks": np.arange(n) * 5 // n,
        "skewed": np.minimum(rng.geometric(0.6, n), 5),
    }[kind]
    most = 0
    with SampleStore(tmp_path / "s", SCHEMA, limit_bytes=limit) as store:
        for at in range(0, n, 250):
            fill(store, classes[at : at + 250], chunk=250, logits=True)
            on_flash = sum(
                f.stat().st_size for f in (tmp_path / "s").rglob("*") if f.is_file() and f.name != "lock.mdb"
            )
            most = max(most, on_flash)
            assert abs(on_flash - store.bytes) <= 4096
        stats = store.stats()
        counts = list(stats["per_class"].values())
        assert most <= limit and stats["evicted"] > 20_000
        assert max(counts) - min(counts) <= 1 or kind == "skewed"
        assert store.count * SCHEMA.sample_bytes > limit / 8  # a limit is to be used, not only kept
        amplification = stats["bytes_written"] / stats["payload_written"]
        kept = contents(store)
        assert store.verify() == []
    with SampleStore(tmp_path / "s", limit_bytes=limit) as store:
        assert contents(store) == kept
    # 36-byte samples carry 24 + 24 bytes of header and logits: the bound leaves as much again for cleaning
    assert amplification < 6


def test_what_stays_does_not_depend_on_how_it_was_cut_into_calls(tmp_path, fill):
    classes = np.random.default_rng(2).integers(0, 5, 12_000)
    got = []
    for chunk in (1000, 37):
        with SampleStore(tmp_path / str(chunk), SCHEMA, limit_bytes=1 << 20) as store:
            fill(store, classes, chunk=chunk)
            got.append(contents(store))
    assert got[0] == got[1]


def test_an_id_that_was_appended_is_not_appended_again(tmp_path):
    with SampleStore(tmp_path / "s", SCHEMA) as store:
        store.append(sample_of(range(10)), 1, ids=range(10))
        store.append(sample_of(range(5, 15)), 1, ids=range(5, 15))
        assert contents(store)[0] == list(range(15))
        with pytest.raises(BadRecord, match="15"):
            store.append(sample_of([16]), 1, ids=[16])


def test_a_source_may_send_everything_twice(tmp_path):
    with SampleStore(tmp_path / "s", SCHEMA) as store:
        for _ in range(2):
            store.append(sample_of(range(5)), 1, fields={"logits": logits_of(range(5))}, ids=range(5)).wait()
        assert store.count == store.next_id == 5


def test_a_wait_returns_when_the_samples_are_on_flash(tmp_path):
    with SampleStore(tmp_path / "d", SCHEMA, durability="durable") as store:
        ticket = store.append(sample_of([0]), 0)
        assert not ticket.done and ticket.wait() and ticket.done
    with SampleStore(tmp_path / "b", SCHEMA, durability="batched:30") as store:
        ticket = store.append(sample_of([0]), 0)
        assert ticket.wait(5) and ticket.done
    with SampleStore(tmp_path / "c", SCHEMA, durability="batched:60000") as store:
        ticket = store.append(sample_of([0]), 0)
        with store._flusher.lock:  # a flush under way that takes its time
            assert ticket.wait(0.02) is False
        store.flush()
        assert ticket.wait(0)


def test_wait_asks_for_the_flush_instead_of_sleeping_out_the_window(tmp_path):
    with SampleStore(tmp_path / "s", SCHEMA, durability="batched:60000") as store:
        store.append(sample_of([0]), 0).wait()
        took = []
        for k in range(1, 21):
            ticket = store.append(sample_of([k]), 0)
            began = time.perf_counter()
            assert ticket.wait()
            took.append(time.perf_counter() - began)
        assert np.median(took) < 1  # of a window of a minute


def test_those_who_wait_together_share_a_flush(tmp_path):
    with SampleStore(tmp_path / "s", SCHEMA, durability="batched:60000") as store:
        before, done = store.stats()["flushes"], []

        def one(k):
            done.append(ticket_of[k].wait(30))

        with store._flusher.lock:
            ticket_of = [store.append(sample_of([k]), 0) for k in range(40)]
            threads = [threading.Thread(target=one, args=(k,)) for k in range(40)]
            for t in threads:
                t.start()
        for t in threads:
            t.join()
        assert done == [True] * 40 and store.stats()["flushes"] - before <= 2


@given(st.floats(0.001, 3600), st.floats(0, 1), st.floats(0, 2))
def test_a_flush_begins_so_early_that_the_window_holds(window, share, longer):
    """The oldest sample it brings to flash came in just behind the beginning of the flush before it."""
    took = share * window / 2
    then = min(longer * took, window / 2)
    assert window / 2 <= interval(window, took) <= window
    assert interval(window, took) + then <= window * (1 + 1e-9)


def test_stats_are_given_while_files_come_and_go(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "FILE_BYTES", 1 << 12)
    with SampleStore(tmp_path / "s", SCHEMA, limit_samples=300) as store:
        done, errors = threading.Event(), []

        def look():
            try:
                while not done.is_set():
                    stats = store.stats()
                    assert stats["segments"] > 0 and stats["flash_bytes"] > 0 and store.bytes > 0
            except Exception as error:
                errors.append(error)

        thread = threading.Thread(target=look)
        thread.start()
        for at in range(0, 6000, 20):
            ids = at + np.arange(20)
            store.append(sample_of(ids), ids % 5)
        done.set()
        thread.join()
        assert not errors


def test_waiting_threads_share_a_flush(tmp_path):
    with SampleStore(tmp_path / "s", SCHEMA, durability="durable") as store:

        def work():
            for _ in range(40):
                assert store.append(sample_of([0]), 0).wait()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert store.count == 160 and store.stats()["flushes"] <= 160
        assert store.verify() == []


def test_small_values_are_atomic_and_survive(tmp_path):
    with SampleStore(tmp_path / "s", SCHEMA) as store:
        store.meta_set({"labels": b"[1, 2]", "note": b""})
    with SampleStore(tmp_path / "s") as store:
        assert store.meta_get("labels") == b"[1, 2]" and store.meta_get("note") == b""
        assert store.meta_get("other") is None
        store.meta_set({"labels": b"x" * 3_000_000})  # more than half of the first map
        store.meta_set({"labels": b"y" * 3_000_000, "more": b"z" * 6_000_000})
        assert store.meta_get("labels") == b"y" * 3_000_000


@pytest.mark.parametrize("kind", ["uint8", "float32"])
@pytest.mark.parametrize("shape", [(3,), (2, 5, 5), (1,)])
def test_any_shape_and_type_of_sample(tmp_path, kind, shape):
    schema = StreamSchema(shape, kind)
    data = np.random.default_rng(0).normal(0, 50, (9, *shape)).astype(kind)
    with SampleStore(tmp_path / "s", schema) as store:
        store.append(data, np.arange(9))
        store.append(data[0], 3)
        got = store.read(np.arange(10))["samples"]
        assert got.dtype == kind and (got == np.concatenate([data, data[:1]])).all()


@pytest.mark.parametrize(
    "arguments, words",
    [
        (dict(samples=np.zeros((2, 1, 6, 5), np.uint8), classes=0), "shape"),
        (dict(samples=np.zeros((2, 1, 6, 6)), classes=0), "float64"),
        (dict(samples=sample_of([0, 1]), classes=[0, 1, 2]), "3 classes for 2"),
        (dict(samples=sample_of([0]), classes=70_000), "70000"),
        (dict(samples=sample_of([0]), classes=-2), "-2"),
        (dict(samples=sample_of([0]), classes=0.5), "float64"),
        (dict(samples=sample_of([0]), classes=0, times=np.nan), "not finite"),
        (dict(samples=sample_of([0]), classes=0, fields={"other": [[1]]}), "no field 'other'"),
        (dict(samples=sample_of([0]), classes=0, fields={"logits": np.zeros((1, 13))}), r"\(1, 13\)"),
    ],
)
def test_what_does_not_fit_the_stream_is_refused_and_leaves_no_trace(tmp_path, arguments, words):
    with SampleStore(tmp_path / "s", SCHEMA) as store:
        with pytest.raises(BadRecord, match=words):
            store.append(**arguments)
        assert store.next_id == 0 and store.count == 0


@pytest.mark.parametrize("text", ["", "batched", "batched:0", "batched:-5", "batched:x", "fast"])
def test_an_unknown_durability_is_refused(tmp_path, text):
    with pytest.raises(BadRecord, match="durable"):
        SampleStore(tmp_path / "s", SCHEMA, durability=text)
    assert not (tmp_path / "s").exists()


def test_a_limit_too_small_to_be_of_use_says_what_would_do(tmp_path):
    with pytest.raises(BadRecord, match=r"at least \d+") as caught:
        SampleStore(tmp_path / "s", SCHEMA, limit_bytes=1000)
    least = int("".join(ch for ch in caught.value.remedy if ch.isdigit()))
    SampleStore(tmp_path / "t", SCHEMA, limit_bytes=least).close()


# ------------------------------------------------------------------ resuming from a checkpoint
def run(store, classes, start, stop, log, state_at=()):
    """A small stream whose every step looks at the store; returns the checkpoints taken."""
    states = {}
    for step in range(start, stop):
        if step in state_at:
            states[step] = store.state()
        ids = step * 20 + np.arange(20)
        store.append(sample_of(ids), classes[ids], ids=ids)
        store.update_field("logits", ids[::2], logits_of(ids[::2] + step, 3 + step % 4))
        c = int(classes[step])
        pick = store.kth(c, step % max(1, store.count_of(c)))
        batch = store.read([pick])
        values, widths = batch["fields"]["logits"]
        log.append((step, pick, store.count, store.next_id, batch["samples"].tobytes(),
                    values[0, : widths[0]].tobytes()))  # fmt: skip
    return states


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 38), st.integers(1, 12), st.integers(80, 400))
def test_a_resumed_run_sees_what_the_first_one_saw(tmp_path_factory, at, lost, limit):
    classes = np.random.default_rng(3).integers(0, 4, 800)
    whole, first = [], []
    with SampleStore(tmp_path_factory.mktemp("a"), SCHEMA, limit_samples=limit) as store:
        run(store, classes, 0, 40, whole, {at})
    path = tmp_path_factory.mktemp("b")
    with SampleStore(path, SCHEMA, limit_samples=limit) as store:
        states = run(store, classes, 0, min(40, at + lost), first, {at})
    with SampleStore(path, limit_samples=limit) as store:
        assert store.load(states[at]) == {"missing": 0, "fields_exact": True}
        rest = []
        run(store, classes, at, 40, rest)
        assert rest == whole[at:]


def test_a_resume_with_other_samples_is_refused(tmp_path):
    with SampleStore(tmp_path / "s", SCHEMA) as store:
        store.append(sample_of(range(10)), 0)
        state = store.state()
        store.append(sample_of(range(10, 20)), 0)
        store.load(state)
        assert store.next_id == 10 and store.count == 10
        with pytest.raises(ReplayMismatch, match="Sample 13"):
            store.append(sample_of([10, 11, 12, 99]), 0)
        store.append(sample_of([10, 11]), 0)
        assert store.next_id == 12 and not store.read([12])["ok"][0]
    with SampleStore(tmp_path / "s") as store:  # without load nothing acknowledged is hidden
        assert contents(store)[0] == list(range(20))


READER = """
import sys
sys.path.insert(0, {here!r})
from edgecl.storage import SampleStore
from store_samples import sample_of
with SampleStore(sys.argv[1], read_only=True) as store:
    n = store.next_id
    batch = store.read(range(n))
    assert batch["ok"].all() and (batch["samples"] == sample_of(range(n))).all()
    print(n)
"""


def test_another_process_may_read_while_one_writes(tmp_path, fill):
    with SampleStore(tmp_path / "s", SCHEMA) as store:
        fill(store, np.arange(500) % 3)
        code = READER.format(here=os.path.dirname(__file__))
        command = [sys.executable, "-c", code, tmp_path / "s"]
        out = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert out.stdout.strip() == "500", out.stderr
        fill(store, np.arange(10))
        assert contents(store)[0] == list(range(510))


def test_a_schema_survives_its_json():
    schema = StreamSchema((3, 32, 32), "float32", {"a": FieldSpec("int8", 5, 2), "b": FieldSpec()})
    assert StreamSchema.from_json(schema.to_json()) == schema


@pytest.mark.parametrize(
    "asked",
    [
        lambda store: store.append([[1], [1, 2]], 0),
        lambda store: store.append(sample_of([1]), 0, times="noon"),
        lambda store: store.append(sample_of([1]), 0, ids=[0.5]),
        lambda store: store.append(sample_of([1]), 0, fields={"logits": "abc"}),
        lambda store: store.read([0.5]),
        lambda store: store.read(["a"]),
        lambda store: store.read([2**63]),
        lambda store: store.update_field("logits", [0.5], [[1.0]]),
        lambda store: store.forget(True),
        lambda store: store.forget(1.5),
        lambda store: EpisodicMemory(4, SCHEMA).put_many([4], sample_of([1]), [0]),
        lambda store: EpisodicMemory(4, SCHEMA).put_many([-1], sample_of([1]), [0]),
        lambda store: EpisodicMemory(4, SCHEMA).put_many([0], sample_of([1]), [1.5]),
        lambda store: EpisodicMemory(4, SCHEMA).put_many([0], sample_of([1]), [2**32]),  # would be class 0
    ],
)
def test_what_an_argument_cannot_mean_is_refused(tmp_path, asked):
    with SampleStore(tmp_path / "s", SCHEMA) as store:
        store.append(sample_of([0]), 0)
        with pytest.raises(BadRecord):
            asked(store)
        assert store.next_id == 1


@pytest.mark.parametrize("codec", ["raw", "zstd", "png"])
def test_no_samples_are_appended_and_read_like_some(tmp_path, codec):
    with SampleStore(tmp_path / "s", StreamSchema((1, 6, 6), "uint8", codec=codec)) as store:
        ticket = store.append(np.zeros((0, 1, 6, 6), np.uint8), np.zeros(0, np.int32))
        assert ticket.wait(10) and not ticket.ids.size and store.next_id == 0
        assert store.read([])["samples"].shape == (0, 1, 6, 6)
