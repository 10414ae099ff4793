"""Disk full, read-only, failing device, limits of the process, a clock that jumps: typed errors, and a whole store."""

import contextlib
import fcntl
import inspect
import os
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest
from edgecl.storage import SampleStore
from edgecl.storage.amending import FILE as LOG
from edgecl.storage.errors import ReadOnly, StoreError, StoreFull
from store_samples import SCHEMA, logits_of, sample_of

EXT4_IOC_SHUTDOWN = 0x8004587D


@pytest.fixture
def small(tmp_path):
    """A file system of 3 MB of its own."""
    if os.getuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", tmp_path]).returncode:
        pytest.skip("needs root to mount a small file system")
    yield tmp_path
    subprocess.run(["umount", "-l", tmp_path])


def fill(store, n, at=None):
    at = store.next_id if at is None else at
    ids = at + np.arange(n)
    return store.append(sample_of(ids), ids % 3, fields={"logits": logits_of(ids)})


def test_after_space_was_freed_the_store_goes_on(small):
    ballast = small / "ballast"
    ballast.write_bytes(bytes(1 << 20))
    with SampleStore(small / "s", SCHEMA, durability="durable") as store:
        with pytest.raises(StoreFull) as caught:
            while True:
                fill(store, 200).wait()
        assert caught.value.remedy
        stored = store.next_id
        whole = store.count
        ballast.unlink()
        store.append(sample_of([stored]), stored % 3).wait()
        assert store.count == whole + 1
        assert (store.read(range(stored + 1))["samples"] == sample_of(range(stored + 1))).all()
    with SampleStore(small / "s") as store:
        assert store.next_id == stored + 1 and store.verify() == []


def test_a_byte_limit_keeps_a_store_going_on_a_nearly_full_card(small):
    (small / "ballast").write_bytes(bytes(1900 << 10))
    with SampleStore(small / "s", SCHEMA, limit_bytes=900_000) as store:
        for _ in range(60):
            fill(store, 200)
        assert store.next_id == 12_000 and store.count > 1000 and store.verify() == []


def test_a_read_only_file_system_is_named_and_can_be_read(small):
    with SampleStore(small / "s", SCHEMA) as store:
        fill(store, 300)
    subprocess.run(["mount", "-o", "remount,ro", small], check=True)
    with pytest.raises(ReadOnly, match="read_only=True"):
        SampleStore(small / "s")
    with SampleStore(small / "s", read_only=True) as store:
        assert store.count == 300 and store.verify() == []


def test_a_device_that_fails_under_an_open_store_is_named_and_kept_whole(small):
    if subprocess.run(["which", "mkfs.ext4"], capture_output=True).returncode:
        pytest.skip("needs mkfs.ext4")
    image, place = small / "image", small / "ext4"
    place.mkdir()
    with open(image, "wb") as file:
        file.truncate(2 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True, capture_output=True)
    if subprocess.run(["mount", "-o", "loop", image, place], capture_output=True).returncode:
        pytest.skip("no loop device")
    try:
        store = SampleStore(place / "s", SCHEMA, durability="durable")
        fill(store, 300).wait()
        fd = os.open(place, os.O_RDONLY)
        fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", 2))  # from here on every call to it is an I/O error
        os.close(fd)
        with pytest.raises(StoreError, match="Input/output") as caught:
            fill(store, 100).wait()
        assert caught.value.remedy
        with pytest.raises(StoreError):
            fill(store, 100).wait()  # and stays one: what was not flushed may be gone
        with contextlib.suppress(StoreError):
            store.close()
        del store
        subprocess.run(["umount", place], check=True)
        subprocess.run(["mount", "-o", "loop", image, place], check=True)
        with SampleStore(place / "s") as again:
            assert again.read(range(300))["ok"].all() and again.verify() == []
    finally:
        subprocess.run(["umount", "-l", place], capture_output=True)


def test_a_limit_on_file_size_is_a_full_store(tmp_path):
    code = """
import resource, sys
sys.path.insert(0, sys.argv[2])
from edgecl.storage import SampleStore
from edgecl.storage.errors import StoreFull
from store_samples import SCHEMA, sample_of
store = SampleStore(sys.argv[1], SCHEMA)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
n = 0
try:
    while True:
        store.append(sample_of(range(n, n + 100)), 0)
        n += 100
except StoreFull as error:
    print(n, bool(error.remedy), store.read(range(n))["ok"].all())
"""
    here = os.path.dirname(os.path.abspath(__file__))
    run = [sys.executable, "-P", "-c", code, tmp_path / "s", here]
    out = subprocess.run(run, capture_output=True, text=True)
    assert out.stdout.split()[1:] == ["True", "True"] and int(out.stdout.split()[0]) > 1000, out.stderr
    with SampleStore(tmp_path / "s") as store:
        assert store.count >= int(out.stdout.split()[0]) and store.verify() == []


def test_a_clock_that_jumps_back_changes_no_order(tmp_path):
    with SampleStore(tmp_path / "s", SCHEMA, limit_samples=100) as store:
        for k, now in enumerate((2e9, 1e9, 0.0, -5.0)):
            store.append(sample_of(range(40 * k, 40 * k + 40)), 0, times=now)
        assert store.ids_of_class(0).tolist() == list(range(60, 160))
        assert store.read([60, 100, 159])["times"].tolist() == [1e9, 0.0, -5.0]
        assert [store.kth_oldest(k) for k in (0, 99)] == [60, 159]


def test_a_missing_segment_directory_and_a_lost_description(tmp_path):
    with SampleStore(tmp_path / "s", SCHEMA) as store:
        fill(store, 100)
    shutil.copytree(tmp_path / "s", tmp_path / "t")
    (tmp_path / "t" / "store.json").unlink()
    with pytest.raises(StoreError, match="no store"):
        SampleStore(tmp_path / "t")
    shutil.rmtree(tmp_path / "s" / "segments")
    with SampleStore(tmp_path / "s") as store:
        assert store.count == 0 and store.next_id >= 100
        assert fill(store, 10).ids[0] >= 100


def test_a_failed_flush_stays_failed_whoever_asked_for_it(tmp_path):
    """A commit point meets the error first; the waiter behind it must not be told that its sample is on flash."""
    store = SampleStore(tmp_path / "s", SCHEMA, durability="durable")
    ticket = fill(store, 10)
    os.close(store._tail.fd)  # from here on the kernel refuses every call on it
    with pytest.raises(StoreError):
        store.meta_set({"a": b"1"})
    with pytest.raises(StoreError):
        ticket.wait()
    assert not ticket.done
    with contextlib.suppress(StoreError):
        store.close()


def test_what_reads_or_writes_files_gives_errors_of_a_type():
    """Every call of a store is typed, except those that read its arrays in memory alone."""
    in_memory = {"classes", "count_of", "endurance", "forgotten", "ids_of_class", "ids_of_subject", "kth", "kth_oldest",
                 "listen", "newest", "older_than", "subjects"}  # fmt: skip
    calls = {n for n in dir(SampleStore) if n[0] != "_" and inspect.isfunction(inspect.getattr_static(SampleStore, n))}
    assert in_memory <= calls
    assert {n for n in calls if not hasattr(getattr(SampleStore, n), "__wrapped__")} == in_memory


def test_a_log_that_does_not_read_is_named(tmp_path):
    with SampleStore(tmp_path / "s", SCHEMA) as store:
        fill(store, 8).wait()
        store.relabel([2], 7)
        log = tmp_path / "s" / LOG
        log.rename(tmp_path / "log")
        log.mkdir()  # reading it fails
        with pytest.raises(StoreError, match="directory"):
            store.amended()
        log.rmdir()
        (tmp_path / "log").rename(log)
        assert store.amended()[0].tolist() == [2]
