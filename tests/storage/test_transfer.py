"""Export, import, compact and the store commands; a check beside a writer in another process."""

import json
import subprocess
import sys

import numpy as np
import pytest
from edgecl.storage import SampleStore, StreamSchema, export_store, import_store
from edgecl.storage.errors import BadRecord, StoreError
from edgecl.storage.transfer import exported_schema, live_ids
from store_samples import SCHEMA, logits_of, sample_of


def make(path, n=3000, **options):
    with SampleStore(path, SCHEMA, **options) as store:
        for at in range(0, n, 250):
            ids = at + np.arange(250)
            store.append(sample_of(ids), ids % 5, ids % 3 - 1, 1e9 + ids, {"logits": logits_of(ids)})
        store.update_field("logits", [1, 2], logits_of([7, 8], 6))
    return path


def command(*arguments):
    code = "import sys; from edgecl.__main__ import main; sys.exit(main())"
    run = [sys.executable, "-P", "-c", code, "store", *map(str, arguments)]
    return subprocess.run(run, capture_output=True, text=True)


def test_an_export_comes_back_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("edgecl.storage.transfer.SHARD_BYTES", 40_000)
    with SampleStore(make(tmp_path / "a", limit_samples=1000), limit_samples=1000) as store:
        store.append(sample_of([3000]), 4)
        ids = live_ids(store)
        done = export_store(store, tmp_path / "e")
        assert done["samples"] == 1000 and done["files"] > 2 and done["skipped"] == 0
        want = store.read(ids)
    with SampleStore(tmp_path / "b", exported_schema(tmp_path / "e")) as store:
        assert import_store(store, tmp_path / "e")["samples"] == 1000
        got = store.read(range(1000))
        for name in ("samples", "classes", "subjects", "times"):
            assert (got[name] == want[name]).all()
        for name in SCHEMA.fields:
            assert (got["fields"][name][1] == want["fields"][name][1]).all()
        assert (
            got["fields"]["logits"][0] == want["fields"]["logits"][0][:, : got["fields"]["logits"][0].shape[1]]
        ).all()


def test_a_flipped_byte_or_a_missing_file_of_an_export_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr("edgecl.storage.transfer.SHARD_BYTES", 40_000)
    with SampleStore(make(tmp_path / "a", 1000)) as store:
        export_store(store, tmp_path / "e")
    victim = sorted((tmp_path / "e").glob("*.safetensors"))[1]
    whole = victim.read_bytes()
    with SampleStore(tmp_path / "b", SCHEMA) as store:
        victim.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
        with pytest.raises(StoreError, match="damaged"):
            import_store(store, tmp_path / "e")
        victim.unlink()
        with pytest.raises(StoreError, match="gone"):
            import_store(store, tmp_path / "e")
        assert store.next_id == 0
        victim.write_bytes(whole)
        assert import_store(store, tmp_path / "e")["samples"] == 1000


def test_what_is_not_an_export_is_refused(tmp_path):
    with SampleStore(tmp_path / "s", SCHEMA) as store:
        (tmp_path / "empty").mkdir()
        with pytest.raises(BadRecord, match="no export"):
            import_store(store, tmp_path / "empty")
        (tmp_path / "empty" / "000000.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0garbage!")
        with pytest.raises(BadRecord, match="not a file of an export"):
            import_store(store, tmp_path / "empty")
        with pytest.raises(BadRecord, match="not empty"):
            export_store(store, tmp_path / "empty")
    with SampleStore(tmp_path / "t", StreamSchema((3,))) as store:
        store.append(np.zeros((1, 3), np.uint8), 0)
        export_store(store, tmp_path / "e")
    with SampleStore(tmp_path / "s") as store, pytest.raises(BadRecord, match="another stream"):
        import_store(store, tmp_path / "e")


def test_compacting_gives_everything_back_that_is_not_live(tmp_path):
    path = make(tmp_path / "s", 12_000, limit_bytes=2 << 20)
    with SampleStore(path, limit_bytes=2 << 20) as store:
        store.state()  # from here on evicted samples are kept for a checkpoint
        ids = 12_000 + np.arange(4000)
        store.append(sample_of(ids), 9, fields={"logits": logits_of(ids)})
        want, before = live_ids(store).tolist(), store.bytes
        given = store.compact()
        assert given > 0 and store.bytes == before - given
        assert live_ids(store).tolist() == want
        batch = store.read(want)
        assert batch["ok"].all() and (batch["samples"] == sample_of(want)).all()
        assert store.verify() == []
    with SampleStore(path, limit_bytes=2 << 20) as store:
        assert live_ids(store).tolist() == want


def test_the_commands(tmp_path):
    pytest.importorskip("zstandard")
    path = make(tmp_path / "s")
    out = command("stats", path, "--json")
    assert out.returncode == 0 and json.loads(out.stdout)["samples"] == 3000
    out = command("stats", path, "--device", "rpi_4b")
    assert "3000 live of 3000" in out.stdout and "years" in out.stdout and "modelled(rpi_4b)" in out.stdout
    assert command("verify", path).returncode == 0
    assert json.loads(command("compact", path, "--json").stdout)["flash_bytes"] > 0
    assert json.loads(command("export", path, tmp_path / "e", "--json").stdout)["samples"] == 3000
    out = command("import", tmp_path / "t", tmp_path / "e", "--codec", "zstd", "--json")
    assert json.loads(out.stdout) == {"samples": 3000, "files": 1, "first_id": 0}
    with SampleStore(tmp_path / "t") as store:
        assert store.schema.codec == "zstd" and (store.read(range(3000))["samples"] == sample_of(range(3000))).all()
    file = next((path / "segments").glob("*.seg"))
    raw = bytearray(file.read_bytes())
    raw[100] ^= 1
    file.write_bytes(raw)
    out = command("verify", path, "--json")
    assert out.returncode == 1 and [d["id"] for d in json.loads(out.stdout)["damaged"]] == [0]


WRITER = """
import sys, numpy as np
sys.path.insert(0, sys.argv[2])
from edgecl.storage import SampleStore
from store_samples import SCHEMA, sample_of, logits_of
with SampleStore(sys.argv[1], SCHEMA, limit_bytes=1 << 20, durability="batched:5") as store:
    print("begun", flush=True)
    for at in range(store.next_id, store.next_id + 60_000, 200):
        ids = at + np.arange(200)
        store.append(sample_of(ids), ids * ids % 7 % 5, fields={"logits": logits_of(ids)})
"""


def test_a_check_beside_a_writer_finds_no_damage(tmp_path):
    SampleStore(tmp_path / "s", SCHEMA, limit_bytes=1 << 20).close()
    here = __file__.rsplit("/", 1)[0]
    writer = subprocess.Popen([sys.executable, "-P", "-c", WRITER, tmp_path / "s", here], stdout=subprocess.PIPE)
    writer.stdout.readline()
    checks = 0
    while writer.poll() is None or not checks:
        with SampleStore(tmp_path / "s", read_only=True) as store:
            assert store.verify() == []
            ids = live_ids(store)
            batch = store.read(ids)
            ok = batch["ok"]  # what was cleaned away since it was opened is not there
            assert (batch["samples"][ok] == sample_of(ids[ok])).all()
            checks += 1
    assert writer.wait() == 0


def test_an_export_that_cannot_be_written_says_so_with_a_type(tmp_path):
    make(tmp_path / "s", 250)
    (tmp_path / "file").write_text("")
    with SampleStore(tmp_path / "s", read_only=True) as store:
        for to in (tmp_path / "file", tmp_path / "file" / "below"):
            with pytest.raises(StoreError):
                export_store(store, to)
