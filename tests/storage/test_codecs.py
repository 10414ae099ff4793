"""Codecs: what comes back, what is stored, and that damage and recovery hold for records of varying length."""

import shutil

import numpy as np
import pytest
from edgecl.storage import Carousel, EpisodicMemory, FieldSpec, SampleStore, StreamSchema
from edgecl.storage.codecs import make_codec, round_trip
from edgecl.storage.errors import BadRecord, WrongStream
from hypothesis import given, settings
from hypothesis import strategies as st

FIELDS = {"logits": FieldSpec("float16", 4)}
pytest.importorskip("zstandard")
pytest.importorskip("PIL")
STREAMS = {
    "zstd": StreamSchema((1, 12, 12), "uint8", FIELDS, "zstd"),
    "zstd floats": StreamSchema((30,), "float32", FIELDS, "zstd:1"),
    "png": StreamSchema((3, 9, 11), "uint8", FIELDS, "png"),
    "png grey": StreamSchema((1, 9, 11), "uint8", FIELDS, "png"),
    "jpeg": StreamSchema((3, 16, 16), "uint8", FIELDS, "jpeg:80"),
    "int8": StreamSchema((6, 5), "float32", FIELDS, "int8"),
    "int8 per channel": StreamSchema((6, 5), "float32", FIELDS, "int8:channel"),
}
EXACT = ("zstd", "zstd floats", "png", "png grey")


def samples_of(schema, ids):
    """Smooth, so that they compress, except every seventh, which is noise."""
    ids = np.atleast_1d(np.asarray(ids))
    out = np.empty((len(ids), *schema.sample_shape), schema.sample_dtype)
    n = int(np.prod(schema.sample_shape))
    for i, id_ in enumerate(ids):
        smooth = (np.arange(n) // 7 + id_ * 3) % 200
        values = np.random.default_rng(id_).integers(0, 256, n) if id_ % 7 == 0 else smooth
        out[i] = values.reshape(schema.sample_shape)
    return out


def kept(schema, ids):
    """What the store gives back for them."""
    given = samples_of(schema, ids)
    rows = given.reshape(len(given), -1).view(np.uint8)
    back = round_trip(make_codec(schema), schema, rows)
    return np.ascontiguousarray(back).view(schema.sample_dtype).reshape(given.shape)


def fill(store, n, chunk=50):
    for at in range(store.next_id, store.next_id + n, chunk):
        ids = at + np.arange(chunk)
        store.append(samples_of(store.schema, ids), ids % 3, subjects=ids % 5 - 1)


def check(store, ids):
    batch = store.read(ids)
    ok = batch["ok"]
    assert (batch["samples"][ok] == kept(store.schema, np.asarray(ids)[ok])).all()
    assert (batch["classes"][ok] == np.asarray(ids)[ok] % 3).all()
    assert not batch["samples"][~ok].any()
    return set(np.asarray(ids)[~ok].tolist())


@pytest.mark.parametrize("name", STREAMS)
def test_samples_come_back_over_segments_and_openings(tmp_path, name):
    schema = STREAMS[name]
    with SampleStore(tmp_path / "s", schema, limit_bytes=4 << 20) as store:
        fill(store, 1500)
        assert check(store, np.arange(1500)) == set()
        assert store.verify() == []
        if name in EXACT:
            got = store.read(np.arange(1500))["samples"]
            assert (got == samples_of(schema, np.arange(1500))).all()
    with SampleStore(tmp_path / "s", limit_bytes=4 << 20) as store:
        assert store.schema == schema
        assert check(store, np.arange(1500)) == set()
        fill(store, 500)
        assert check(store, np.arange(2000)) == set()
    shutil.rmtree(tmp_path / "s" / "index")
    with SampleStore(tmp_path / "s", limit_bytes=4 << 20) as store:
        assert store.rebuilt and check(store, np.arange(2000)) == set()


@pytest.mark.parametrize("name", ["int8", "int8 per channel"])
def test_int8_keeps_every_value_within_half_a_step(name):
    schema = STREAMS[name]
    given = np.random.default_rng(0).normal(0, 3, (40, *schema.sample_shape)).astype(np.float32)
    given[0] = 0
    rows = given.reshape(40, -1).view(np.uint8)
    back = round_trip(make_codec(schema), schema, rows).view(np.float32).reshape(given.shape)
    axes = (1, 2) if name == "int8" else (2,)
    step = np.abs(given).max(axis=axes, keepdims=True) / 127
    assert (np.abs(back - given) <= step / 2 * 1.0001).all()


@pytest.mark.parametrize("name", ["zstd", "png", "int8"])
def test_a_codec_saves_flash(tmp_path, name):
    sizes = []
    for codec in (STREAMS[name].codec, "raw"):
        schema = StreamSchema(STREAMS[name].sample_shape, STREAMS[name].sample_dtype, {}, codec)
        with SampleStore(tmp_path / codec, schema) as store:
            ids = np.arange(400) * 7 + 1  # none is noise
            store.append(samples_of(schema, ids), 0)
            store.flush()
            sizes.append(store._files["00000001.seg"])
    assert sizes[0] < 0.9 * sizes[1]


@pytest.mark.parametrize("name", ["zstd", "jpeg", "int8"])
def test_swaps_bring_decoded_samples(tmp_path, name):
    schema = STREAMS[name]
    rng = np.random.default_rng(0)
    with SampleStore(tmp_path / "s", schema) as store:
        fill(store, 300)
        memory = EpisodicMemory(20, schema)
        memory.put_many(range(20), kept(schema, range(20)), np.arange(20) % 3, range(20))
        with Carousel(store, memory) as carousel:
            for step in range(30):
                carousel.begin_step(step)
                carousel.request(step, memory.draw(rng, 8), rng)
            assert carousel.counters["swaps_done"] > 100
        assert (memory.samples == kept(schema, memory.ids)).all() and (memory.classes == memory.ids % 3).all()


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_damage_in_records_of_varying_length_is_confined(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("v") / "s"
    schema = STREAMS["zstd"]
    with SampleStore(path, schema, limit_bytes=4 << 20) as store:
        fill(store, 1200, 100)
    files = sorted((path / "segments").glob("*.seg"))
    hits = data.draw(st.integers(1, 3))
    for _ in range(hits):
        file = data.draw(st.sampled_from(files))
        raw = bytearray(file.read_bytes())
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] ^= data.draw(st.integers(1, 255))
        file.write_bytes(raw)
    with SampleStore(path, limit_bytes=4 << 20) as store:
        lost = check(store, np.arange(1200))
        assert len(lost) <= hits and store.next_id == 1200
        assert {d.id for d in store.verify()} == lost
        fill(store, 100)
        assert check(store, np.arange(1200, 1300)) == set()


def test_a_torn_tail_of_varying_records_is_cut(tmp_path):
    schema = STREAMS["zstd"]
    with SampleStore(tmp_path / "s", schema) as store:
        fill(store, 100)
        ends = [store._index.where(i)[1] for i in range(100)]
    tail = next((tmp_path / "s" / "segments").glob("*.seg"))
    shutil.rmtree(tmp_path / "s" / "index")
    with open(tail, "r+b") as file:
        file.truncate(ends[90] + 11)
    with SampleStore(tmp_path / "s") as store:
        assert store.next_id == 90 and check(store, np.arange(90)) == set()
        fill(store, 50)
        assert check(store, np.arange(140)) == set() and store.verify() == []


@pytest.mark.parametrize("name", ["zstd", "int8"])
def test_a_byte_limit_is_kept_with_codecs(tmp_path, name):
    limit = 1 << 20
    with SampleStore(tmp_path / "s", STREAMS[name], limit_bytes=limit) as store:
        fill(store, 12_000, 400)
        files = [f for f in (tmp_path / "s").rglob("*") if f.is_file() and f.name != "lock.mdb"]
        assert sum(f.stat().st_size for f in files) <= limit
        live = np.sort(np.concatenate([store.ids_of_class(c) for c in range(3)]))
        assert check(store, live) == set() and len(live) == store.count > 1000
        before = live.tolist()
    with SampleStore(tmp_path / "s", limit_bytes=limit) as store:
        assert np.sort(np.concatenate([store.ids_of_class(c) for c in range(3)])).tolist() == before


@pytest.mark.parametrize(
    "shape, dtype, codec",
    [((4,), "uint8", "png"), ((2, 8, 8), "uint8", "jpeg"), ((4,), "uint8", "int8"), ((4,), "uint8", "gzip"),
     ((4,), "uint8", "zstd:99"), ((1, 8, 8), "uint8", "jpeg:0"), ((4,), "float32", "int8:row")],
)  # fmt: skip
def test_a_codec_that_does_not_fit_is_refused(shape, dtype, codec):
    with pytest.raises(BadRecord, match="odec"):
        StreamSchema(shape, dtype, {}, codec)


def test_another_codec_is_another_stream(tmp_path):
    SampleStore(tmp_path / "s", STREAMS["zstd"]).close()
    with pytest.raises(WrongStream, match="codec zstd against raw"):
        SampleStore(tmp_path / "s", StreamSchema((1, 12, 12), "uint8", FIELDS))
