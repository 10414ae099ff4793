"""Who may use a store, and what anybody else is told."""

import os
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import pytest
from edgecl.storage import Carousel, EpisodicMemory, FieldSpec, SampleStore, StreamSchema
from edgecl.storage.errors import (
    BadRecord,
    ReadOnly,
    StoreClosed,
    StoreDamaged,
    StoreError,
    StoreLocked,
    UseAfterFork,
    WrongStream,
)
from store_samples import SCHEMA, sample_of


def test_a_second_owner_is_told_who_the_first_is(tmp_path):
    with SampleStore(tmp_path / "s", SCHEMA):
        with pytest.raises(StoreLocked, match="this process") as caught:
            SampleStore(tmp_path / "s")
        assert caught.value.pid == os.getpid() and caught.value.remedy
        code = "import sys; from edgecl.storage import SampleStore; SampleStore(sys.argv[1])"
        run = [sys.executable, "-c", code, tmp_path / "s"]
        out = subprocess.run(run, capture_output=True, text=True, cwd=tmp_path)
        assert f"StoreLocked: The store '{tmp_path / 's'}' is in use by process {os.getpid()}" in out.stderr
    SampleStore(tmp_path / "s").close()


@pytest.mark.parametrize(
    "other, words",
    [
        (StreamSchema((1, 6, 7), "uint8", SCHEMA.fields), r"\(1, 6, 6\) against \(1, 6, 7\)"),
        (StreamSchema((1, 6, 6), "float32", SCHEMA.fields), "uint8 against float32"),
        (StreamSchema((1, 6, 6)), "fields"),
        (StreamSchema((1, 6, 6), "uint8", {**SCHEMA.fields, "logits": FieldSpec("float16", 13)}), "'logits'"),
    ],
)
def test_another_stream_is_refused_with_what_differs(tmp_path, other, words):
    SampleStore(tmp_path / "s", SCHEMA).close()
    with pytest.raises(WrongStream, match=words):
        SampleStore(tmp_path / "s", other)
    SampleStore(tmp_path / "s", SCHEMA).close()  # and the lock is free again


def test_a_file_is_not_a_store(tmp_path):
    (tmp_path / "f").write_text("x")
    with pytest.raises(StoreError, match="is a file"):
        SampleStore(tmp_path / "f", SCHEMA)
    with pytest.raises(StoreError, match="Cannot make the store"):
        SampleStore(tmp_path / "f" / "g", SCHEMA)


def test_no_store_and_no_schema(tmp_path):
    with pytest.raises(StoreError, match="no store"):
        SampleStore(tmp_path / "s")
    with pytest.raises(StoreError, match="no store"):
        SampleStore(tmp_path / "t", SCHEMA, read_only=True)
    assert not (tmp_path / "t").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become another user")
def test_a_directory_one_may_not_write():
    with tempfile.TemporaryDirectory() as place:  # pytest's own folders are closed to other users
        os.chmod(place, 0o755)
        path = os.path.join(place, "s")
        with SampleStore(path, SCHEMA) as store:
            store.append(sample_of([0]), 0)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.seteuid(65534)
                try:
                    SampleStore(path)
                except ReadOnly as error:
                    good = "Permission denied" in error.cause and "read_only=True" in error.remedy
                    status = 0 if good else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_reader_cannot_write(tmp_path):
    SampleStore(tmp_path / "s", SCHEMA).close()
    with SampleStore(tmp_path / "s", read_only=True) as store:
        for write in (
            lambda: store.append(sample_of([0]), 0),
            lambda: store.meta_set({"a": b""}),
            lambda: store.update_field("weight", [0], [[1.0]]),
            store.flush,
            store.state,
        ):
            with pytest.raises(ReadOnly):
                write()


def test_use_after_close(tmp_path):
    store = SampleStore(tmp_path / "s", SCHEMA)
    carousel = Carousel(store, EpisodicMemory(4, SCHEMA))
    carousel.close()
    carousel.close()
    store.close()
    store.close()
    with pytest.raises(StoreClosed):
        store.append(sample_of([0]), 0)
    with pytest.raises(StoreClosed):
        store.read([0])
    with pytest.raises(StoreClosed):
        carousel.begin_step(0)


def test_use_after_fork_is_an_error_and_does_not_disturb_the_parent(tmp_path):
    store = SampleStore(tmp_path / "s", SCHEMA, durability="batched:20")
    store.append(sample_of(range(50)), np.arange(50) % 2)
    memory = EpisodicMemory(4, SCHEMA)
    memory.put(0, sample_of([0])[0], 0, 0)
    carousel = Carousel(store, memory)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            errors = 0
            for use in (lambda: store.append(sample_of([50]), 0), lambda: store.read([0]),
                        lambda: carousel.request(0, [0], np.random.default_rng(0))):  # fmt: skip
                try:
                    use()
                except UseAfterFork:
                    errors += 1
            carousel.close()
            store.close()
            del carousel, store
            status = 0 if errors == 3 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert carousel.request(0, [0], np.random.default_rng(0)) == 1 and carousel.begin_step(2) == 1
    assert store.append(sample_of([50]), 0).wait(5)
    with pytest.raises(StoreLocked):
        SampleStore(tmp_path / "s")
    carousel.close()
    store.close()


def test_a_store_of_a_later_format_is_named_as_such(tmp_path):
    from edgecl.storage import _storage

    SampleStore(tmp_path / "s", SCHEMA).close()
    path = tmp_path / "s" / "store.json"
    import json

    text = json.loads(path.read_text())["text"].replace('"format": 3', '"format": 9')
    path.write_text(json.dumps({"text": text, "crc32c": _storage.crc32c(text.encode())}))
    with pytest.raises(StoreError, match="format 9"):
        SampleStore(tmp_path / "s")
    path.write_text("{")
    with pytest.raises(StoreDamaged):
        SampleStore(tmp_path / "s")


def test_a_full_device_is_an_error_and_the_store_stays_whole(tmp_path):
    if os.getuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", tmp_path]).returncode:
        pytest.skip("needs root to mount a small file system")
    try:
        store = SampleStore(tmp_path / "s", SCHEMA)
        stored = 0
        with pytest.raises(StoreError, match=r"[Nn]o space"):
            while True:
                store.append(sample_of(stored + np.arange(500)), 0)
                stored += 500
        assert stored > 1000 and store.count >= stored
        shutil.rmtree(tmp_path / "s" / "other", ignore_errors=True)
        assert store.read(range(stored))["ok"].all() and store.verify() == []
        store.close()
        with SampleStore(tmp_path / "s", read_only=True) as again:
            assert again.read(range(stored))["ok"].all()
    finally:
        subprocess.run(["umount", "-l", tmp_path])


@pytest.mark.parametrize("options", [dict(mode="fast"), dict(latency=0), dict(queue=0), dict(movers=0)])
def test_carousel_options_are_checked(tmp_path, options):
    with SampleStore(tmp_path / "s", SCHEMA) as store, pytest.raises(BadRecord):
        Carousel(store, EpisodicMemory(4, SCHEMA), **options)
