"""`edgecl run --front`: the same bits as a Learner, planned, recorded, resumed, refused when it changed."""

import json
import subprocess
import sys
from threading import Event

import numpy as np
import pytest
from learner_bits import same_parts, taught_task_by_task
from raw import SMALL, WINDOW

import edgecl
from edgecl import checkpoint
from edgecl.child import python_command
from edgecl.data import load_stream
from edgecl.errors import BadInput
from edgecl.fronts import Window
from edgecl.planning.front import configured_front, raw_spec, stream_behind
from edgecl.planning.run_plan import prepare
from edgecl.report.record import read_record
from edgecl.run import run

EPOCHS = 3


@pytest.fixture
def options(raw_stream):
    return {"stream": raw_stream, "epochs": EPOCHS, **SMALL, **WINDOW}


def placed():
    return Window(rate=100.0, length=32).placed((3, 1, 80), "float32")


def newest(folder):
    files = checkpoint.generations(folder)
    return checkpoint.read(max(files, key=lambda path: path.stat().st_mtime_ns))


def test_a_source_behind_a_front_is_read_by_index_and_a_piece_at_a_time(options):
    stream = load_stream(options["stream"])
    front = configured_front("window", {"rate": 100.0, "length": 32}, raw_spec(stream))
    behind = stream_behind(stream, front)
    rows = np.array([40, 3, 3, 17])
    before, after = stream.tasks[1].train, behind.tasks[1].train
    rows = rows % len(before)
    np.testing.assert_array_equal(after.read(rows), placed()(before.read(rows)))
    part = after.subset(np.arange(5, 15)).read(np.array([2]))
    np.testing.assert_array_equal(part, placed()(before.read(np.array([7]))))
    np.testing.assert_array_equal(after.labels, before.labels)
    assert front.flops == (len(rows) + 1) * placed().flops
    behind.tasks[0].test.read(np.arange(3))
    assert front.flops == (len(rows) + 1) * placed().flops
    got = np.concatenate([placed()(t.train.read(np.arange(len(t.train)))) for t in stream.tasks])
    np.testing.assert_allclose(behind.mean, got.mean(axis=(0, 2, 3)), atol=1e-5)
    np.testing.assert_allclose(behind.std, got.std(axis=(0, 2, 3)), atol=1e-5)
    stream.close()


@pytest.mark.parametrize("stored", [False, True], ids=["in RAM", "with a store"])
def test_run_and_learner_give_the_same_bits_behind_a_front(stored, options, tmp_path):
    more = {"store": str(tmp_path / "run")} if stored else {}
    record = run({**options, **more, "out": str(tmp_path / "out")})
    theirs = newest(tmp_path / "out")["trainer"]
    prepared = prepare(options)
    mean, std = prepared.stream.mean, prepared.stream.std
    prepared.stream.close()
    more = {"store": str(tmp_path / "own")} if stored else {}
    rest = {k: v for k, v in options.items() if k not in ("stream", "epochs")}
    stream = load_stream(options["stream"])
    form = {"input_shape": stream.input_shape, "dtype": "float32", "mean": mean, "std": std, "classes": 6}
    with edgecl.Learner(**form, **rest, **more) as learner:
        same_parts(taught_task_by_task(learner, stream, EPOCHS), theirs)
        right = [learner.predict(t.test.read(np.arange(len(t.test)))) for t in stream.tasks]
        shares = [np.mean(np.array(r) == t.test.labels) for r, t in zip(right, stream.tasks)]
        np.testing.assert_allclose(shares, record["accuracy_matrix"][-1])
    stream.close()


def test_the_record_says_which_front_and_what_it_did_apart_from_training(options, raw_stream, tmp_path):
    record = run({**options, "out": str(tmp_path / "out")})
    assert read_record(tmp_path / "out" / "run.json") == record
    front = record["front"]
    assert (front["name"], front["options"]["rate"], front["digest"]) == ("window", 100.0, placed().digest)
    assert record["config"]["front"] == "window" and record["config"]["window_length"] == 32
    trained = sum(len(t.train) for t in load_stream(raw_stream).tasks)
    assert record["flops"]["front"] == EPOCHS * trained * placed().flops
    assert record["flops"]["full"]["executed"] == record["flops"]["full"]["dense"]  # the front is in neither
    assert record["plan"]["growth_bytes"]["front"] > 0 and record["plan"]["front_sample_flops"] == placed().flops
    again = run(record["config"] | {"out": None})
    assert again["accuracy_matrix"] == record["accuracy_matrix"] and again["flops"] == record["flops"]
    plain = run({"stream": raw_stream, "epochs": 1, **SMALL, "front": "none"})
    assert plain["front"] is None and "front" not in plain["flops"]


def cut(options, at):
    stop = Event()
    run(options, listen=lambda p: stop.set() if p.step >= at else None, stop=stop)


def test_a_run_behind_a_front_is_resumed_bit_for_bit(options, tmp_path):
    whole = run({**options, "out": str(tmp_path / "a"), "store": str(tmp_path / "sa")})
    cut({**options, "out": str(tmp_path / "b"), "store": str(tmp_path / "sb")}, 17)
    assert newest(tmp_path / "b")["front"]["digest"] == placed().digest
    resumed = run({}, resume=tmp_path / "b")
    assert resumed["status"]["resumed_from"] == 17
    assert resumed["accuracy_matrix"] == whole["accuracy_matrix"]
    assert resumed["flops"] == whole["flops"]


def test_a_run_whose_front_changed_is_not_resumed(options, tmp_path, monkeypatch):
    cut({**options, "out": str(tmp_path / "o")}, 9)
    monkeypatch.setattr(Window, "version", 2)
    with pytest.raises(BadInput, match="front 'window' of this saved state is not the one here"):
        run({}, resume=tmp_path / "o")
    monkeypatch.setattr(Window, "version", 1)
    path = tmp_path / "o" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"window_length": 40}))
    with pytest.raises(BadInput):
        run({}, resume=tmp_path / "o")


def test_a_store_of_a_run_through_another_front_is_refused(options, tmp_path):
    store = {"store": str(tmp_path / "s")}
    run({**options, **store, "limit_tasks": 1})
    with pytest.raises(BadInput, match=r"filled through the front window\("):
        run({**options, **store, "limit_tasks": 1, "window_cutoff": 8})


def test_what_the_front_does_not_take_is_refused_before_anything_is_written(options, tmp_path):
    for more in ({"front": "logmel", "window_rate": None, "window_length": None}, {"window_length": 100}):
        with pytest.raises(BadInput):
            run({**options, **more, "out": str(tmp_path / "o"), "store": str(tmp_path / "s")})
    assert not (tmp_path / "o").exists() and not (tmp_path / "s").exists()


@pytest.mark.parametrize("kind", ["window", "logmel"])
def test_the_plan_predicts_the_growth_of_memory_with_a_front(kind, raw_stream, tmp_path):
    options = {"stream": raw_stream, "epochs": 2, **SMALL, **WINDOW}
    if kind == "logmel":
        rng = np.random.default_rng(0)
        tones = np.sin(np.arange(16000) * np.arange(1, 5)[:, None] / 20).repeat(24, 0)[:, None, None]
        x = (0.5 * tones + rng.normal(0, 0.1, (96, 1, 1, 16000))).astype(np.float32)
        np.savez(tmp_path / "tones.npz", x=x, y=np.repeat(np.arange(4), 24))
        options = {"stream": str(tmp_path / "tones.npz"), "epochs": 1, **SMALL, "front": "logmel"}
    run({**options, "epochs": 1, "limit_tasks": 1})  # converted before, as a stream usually is
    job = {"options": options, "resume": None, "json": True, "command": "test"}
    command = python_command("edgecl.commands.train", json.dumps(job))
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True, timeout=300)
    memory = json.loads(done.stdout)["memory"]
    planned = memory["planned_peak_rss_bytes"] - memory["baseline_bytes"]
    measured = memory["measured_peak_rss_bytes"] - memory["baseline_bytes"]
    assert abs(measured - planned) <= 0.05 * planned + 1e6, (planned, measured)


def test_the_command_line_knows_fronts_and_their_options(raw_stream, tmp_path):
    def edgecl_command(*arguments):
        said = [*map(str, arguments)]
        code = f"import sys; from edgecl.__main__ import main; sys.argv[1:] = {said!r}; sys.exit(main())"
        command = [sys.executable, "-P", "-c", code]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)

    shown = edgecl_command("run", "--help").stdout
    assert "--front" in shown
    assert "Front logmel:" in shown and "--logmel-coefficients N" in shown and "--window-rate X" in shown
    common = ["--stream", raw_stream, "--front", "window", "--window-rate", 100, "--window-length", 32]
    planned = edgecl_command("plan", *common, "--network", "cnn1d")
    assert planned.returncode == 0 and "FLOPs a sample, in the front" in planned.stdout, planned.stderr
    refused = edgecl_command("run", *common[:2], "--front", "logmel")
    assert refused.returncode == 2 and "takes sound" in refused.stderr and "Traceback" not in refused.stderr
