"""`forget`: a subject's samples and values leave the store for good, everybody else's stay as they are."""

import os
import signal
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from edgecl.storage import FieldSpec, SampleStore, StreamSchema
from edgecl.storage.errors import WrongKey, WrongStream

SCHEMA = StreamSchema((40,), "uint8", {"logits": FieldSpec("float32", 4)})
N = 600


def key_file(tmp_path, name="root.key"):
    pytest.importorskip("cryptography")
    from edgecl.storage.keys import KeyFile

    return KeyFile(tmp_path / name)


@pytest.fixture(params=["clear", "encrypted"])
def root(request, tmp_path):
    return key_file(tmp_path) if request.param == "encrypted" else None


def sample(ids, subject):
    """40 bytes that say whose sample it is, eight times over."""
    text = [f"s{s:02d}{i:05d}".encode() * 5 for i, s in zip(np.atleast_1d(ids), np.atleast_1d(subject))]
    return np.frombuffer(b"".join(text), np.uint8).reshape(-1, 40)


def value(ids):
    return np.stack([np.full(4, 1000.0 + i, np.float32) for i in ids])


def fill(store, n=N, subjects=5):
    for _ in range(0, n, 50):
        ids = store.next_id + np.arange(50)
        who = ids % subjects
        store.append(sample(ids, who), ids % 3, who, fields={"logits": value(ids)})
    store.flush()


def held(path):
    return b"".join(p.read_bytes() for p in path.rglob("*") if p.is_file())


def check(store, gone=(), n=N):
    ids = np.arange(n)
    live = ~np.isin(ids % 5, gone)
    batch = store.read(ids)
    assert (batch["ok"] == live).all()
    assert (batch["samples"][live] == sample(ids, ids % 5)[live]).all()
    values, widths = batch["fields"]["logits"]
    assert (widths == np.where(live, 4, 0)).all() and (values[live] == value(ids)[live]).all()
    assert store.count == live.sum()
    for s in range(5):
        assert len(store.ids_of_subject(s)) == (0 if s in gone else n // 5)
    assert store.verify() == []


def test_a_forgotten_subject_is_in_no_file_and_the_others_are_whole(tmp_path, root):
    path = tmp_path / "store"
    with SampleStore(path, SCHEMA, root_key=root) as store:
        fill(store)
        check(store)
        if root is None:
            assert b"s0200002" in held(path)
        receipt = store.forget(2)
        assert receipt.subject == 2 and receipt.ids.tolist() == list(range(2, N, 5))
        assert receipt.holds == ("overwritten" if root is None else "key dropped")
        check(store, gone=(2,))
        assert [s for s, _ in store.forgotten()] == [2]
    assert b"s0200" not in held(path)
    with SampleStore(path, root_key=root) as store:
        check(store, gone=(2,))
        assert store.forget(2).ids.size == 0


def test_samples_that_come_later_are_kept(tmp_path, root):
    with SampleStore(tmp_path / "store", SCHEMA, root_key=root) as store:
        fill(store)
        store.forget(3)
        ticket = store.append(sample([N], [3]), 0, 3)
        assert ticket.wait()
    with SampleStore(tmp_path / "store", root_key=root) as store:
        assert store.ids_of_subject(3).tolist() == [N]
        assert (store.read([N])["samples"] == sample([N], [3])).all()


def test_who_reads_while_files_are_overwritten_finds_no_damage(tmp_path, root):
    n, wrong, done = 2400, [], threading.Event()
    with SampleStore(tmp_path / "s", SCHEMA, root_key=root, limit_bytes=1 << 21) as store:
        fill(store, n, 24)
        keep = np.flatnonzero(np.arange(n) % 24 >= 8)

        def look():
            while not done.is_set():
                ok = store.read(keep, fields=())["ok"]
                wrong.extend(keep[~ok].tolist())

        threads = [threading.Thread(target=look) for _ in range(3)]
        for thread in threads:
            thread.start()
        for subject in range(8):
            store.forget(subject)
            assert store.verify() == []
        done.set()
        for thread in threads:
            thread.join()
        assert not wrong and store.read(keep)["ok"].all() and store.stats()["damaged"] == 0


def test_a_late_refresh_of_forgotten_samples_stores_nothing(tmp_path, root):
    with SampleStore(tmp_path / "s", SCHEMA, root_key=root) as store:
        fill(store)
        store.forget(2)
        gone = np.arange(2, N, 5)
        store.update_field("logits", gone, value(gone)).wait()
        check(store, [2])


def test_a_lost_index_does_not_bring_a_subject_back(tmp_path, root):
    path = tmp_path / "store"
    with SampleStore(path, SCHEMA, root_key=root) as store:
        fill(store)
        store.forget(1)
    (path / "index" / "data.mdb").write_bytes(b"rot" * 4000)
    with SampleStore(path, root_key=root) as store:
        check(store, gone=(1,))


def test_eviction_and_compaction_go_on_over_forgotten_samples(tmp_path, root):
    with SampleStore(tmp_path / "store", SCHEMA, limit_samples=200, root_key=root) as store:
        fill(store)
        store.forget(4)
        before = store.count
        assert 0 < before < 200
        fill(store, 1000)
        assert store.count == 200
        for c in store.classes():
            assert store.read(store.ids_of_class(c))["ok"].all()


def test_encrypted_files_hold_nothing_in_the_clear_and_need_their_key(tmp_path):
    root, path = key_file(tmp_path), tmp_path / "store"
    with SampleStore(path, SCHEMA, root_key=root) as store:
        fill(store)
    text = held(path)
    assert b"s0200" not in text and b"s0000" not in text and value([7])[0].tobytes() not in text
    with pytest.raises(WrongKey):
        SampleStore(path)
    with pytest.raises(WrongKey):
        SampleStore(path, root_key=key_file(tmp_path, "other.key"))
    with SampleStore(path, root_key=root) as store:
        check(store)


def test_a_store_in_the_clear_takes_no_key(tmp_path):
    with SampleStore(tmp_path / "store", SCHEMA):
        pass
    with pytest.raises(WrongStream):
        SampleStore(tmp_path / "store", root_key=key_file(tmp_path))


@pytest.mark.parametrize("codec", ["zstd", "int8"])
def test_sealing_goes_around_any_codec(tmp_path, codec):
    root = key_file(tmp_path)
    if codec == "zstd":
        pytest.importorskip("zstandard")
    dtype = "float32" if codec == "int8" else "uint8"
    x = np.arange(32 * 20).reshape(32, 20).astype(dtype) % 100
    schema = StreamSchema((20,), dtype, codec=codec)
    with SampleStore(tmp_path / "a", schema) as store:
        store.append(x, 0, np.arange(32) % 4)
        plain = store.read(np.arange(32))["samples"]
    for _ in range(2):
        with SampleStore(tmp_path / "b", schema, root_key=root) as store:
            if not store.count:
                store.append(x, 0, np.arange(32) % 4)
            assert (store.read(np.arange(32))["samples"] == plain).all()


CHILD = """
    import sys, numpy as np
    from edgecl.storage import SampleStore
    import edgecl.storage.cleaning as cleaning
    from edgecl.storage.keys import KeyFile
    path, root, at = sys.argv[1], sys.argv[2], int(sys.argv[3])
    store = SampleStore(path, root_key=None if root == "-" else KeyFile(root))
    calls = 0
    def line(frame, event, arg):
        global calls
        if "storage" in frame.f_code.co_filename:
            calls += 1
            if calls == at:
                import os, signal
                os.kill(os.getpid(), signal.SIGKILL)
        return line
    print("ready", flush=True)
    sys.settrace(line)
    store.forget(2)
"""


@pytest.mark.parametrize("at", [5, 40, 90, 200, 500, 1500])
def test_a_death_in_the_middle_is_ended_by_the_next_opening(tmp_path, root, at):
    path = tmp_path / "store"
    with SampleStore(path, SCHEMA, root_key=root) as store:
        fill(store)
    command = [sys.executable, "-P", "-c", textwrap.dedent(CHILD), str(path)]
    child = subprocess.run(
        [*command, "-" if root is None else str(root.path), str(at)],
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert child.stdout == b"ready\n" and child.returncode in (0, -signal.SIGKILL)
    with SampleStore(path, root_key=root) as store:
        begun = bool(store.forgotten())
        check(store, gone=(2,) if begun else ())
    if begun:
        assert b"s0200" not in held(path)
