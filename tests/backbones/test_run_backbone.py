"""`edgecl run --backbone`: once through the prefix, the same bits as a Learner, planned, recorded, resumed, refused."""

import subprocess
import sys
from threading import Event

import numpy as np
import pytest
from learner_bits import same_parts, taught_task_by_task
from nets import SMALL
from planned_growth import assert_planned

import edgecl
from edgecl import checkpoint
from edgecl.data import load_stream
from edgecl.data.source import ArraySource, KeptSource
from edgecl.errors import BadInput, EdgeclError
from edgecl.fronts import Backbone
from edgecl.report.record import read_record
from edgecl.run import run

EPOCHS = 3


@pytest.fixture
def options(stream, file):
    return {**SMALL, "stream": stream, "epochs": EPOCHS, "backbone": file, "cut": "sum", "latent": "int8"}


def test_a_sample_passes_the_prefix_once_whatever_the_epochs(options, stream, tmp_path):
    record = run({**options, "out": str(tmp_path / "out")})
    assert read_record(tmp_path / "out" / "run.json") == record
    trained = sum(len(t.train) for t in load_stream(stream).tasks)
    assert record["flops"]["front"] == trained * record["front"]["sample_flops"]
    assert record["config"]["front"] == "backbone" and record["config"]["network"] == "tail"
    assert record["front"]["options"] == {"cut": "sum", "latent": "int8", "size": None}
    assert record["front"]["chosen_because"] == "as asked" and record["front"]["saturated"] < 0.01
    assert record["plan"]["growth_bytes"]["front_weights"] > 0
    again = run(record["config"] | {"out": None})
    assert again["accuracy_matrix"] == record["accuracy_matrix"] and again["flops"] == record["flops"]


@pytest.mark.parametrize("stored", [False, True], ids=["in RAM", "with a store"])
def test_run_and_learner_give_the_same_bits(stored, options, tmp_path):
    more = {"store": str(tmp_path / "run")} if stored else {}
    run({**options, **more, "out": str(tmp_path / "out")})
    files = checkpoint.generations(tmp_path / "out")
    theirs = checkpoint.read(max(files, key=lambda path: path.stat().st_mtime_ns))["trainer"]
    more = {"store": str(tmp_path / "own")} if stored else {}
    stream = load_stream(options["stream"])
    rest = {k: v for k, v in options.items() if k not in ("stream", "epochs")}
    with edgecl.Learner(classes=4, **rest, **more) as learner:
        same_parts(taught_task_by_task(learner, stream, EPOCHS), theirs)
    stream.close()


def test_a_run_is_resumed_bit_for_bit_and_not_with_another_backbone(options, file, tmp_path):
    from nets import pretrained

    def cut(options, at):
        stop = Event()
        run(options, listen=lambda p: stop.set() if p.step >= at else None, stop=stop)

    whole = run({**options, "out": str(tmp_path / "a"), "store": str(tmp_path / "sa")})
    cut({**options, "out": str(tmp_path / "b"), "store": str(tmp_path / "sb")}, 13)
    resumed = run({}, resume=tmp_path / "b")
    assert resumed["status"]["resumed_from"] == 13
    assert resumed["accuracy_matrix"] == whole["accuracy_matrix"]
    mine = str(pretrained().save(tmp_path / "mine.edgecl"))
    cut({**options, "backbone": mine, "out": str(tmp_path / "c")}, 13)
    pretrained(1).save(mine)
    with pytest.raises(BadInput, match="front 'backbone' of this saved state is not the one here"):
        run({}, resume=tmp_path / "c")


@pytest.mark.parametrize(("cut", "latent"), [("sum", "int8"), ("pooled", "uint8"), ("sum", "float16")])
def test_the_plan_predicts_the_growth_of_memory(cut, latent, options, tmp_path):
    run({**options, "epochs": 1, "limit_tasks": 1})  # converted before, as a stream usually is
    assert_planned({**options, "cut": cut, "latent": latent}, tmp_path)


def test_the_command_line_takes_a_backbone(stream, file, tmp_path):
    def edgecl_command(*arguments):
        said = [*map(str, arguments)]
        code = f"import sys; from edgecl.__main__ import main; sys.argv[1:] = {said!r}; sys.exit(main())"
        command = [sys.executable, "-P", "-c", code]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)

    shown = edgecl_command("run", "--help").stdout
    assert all(o in shown for o in ("--backbone", "--cut", "--latent", "--executor", "--backbone-size"))
    common = ["--stream", stream, "--backbone", file, "--cut", "pooled", "--executor", "native"]
    planned = edgecl_command("plan", *common)
    assert planned.returncode == 0 and "FLOPs a sample, in the front" in planned.stdout, planned.stderr
    refused = edgecl_command("run", *common[:4], "--cut", "first_act")
    assert refused.returncode == 2 and "The nearest tensors" in refused.stderr and "Traceback" not in refused.stderr
    refused = edgecl_command("run", "--stream", stream, "--cut", "pooled")
    assert refused.returncode == 2 and "without a backbone" in refused.stderr
    refused = edgecl_command("run", "--stream", stream, "--backbone", "efficientnet_lite0", "--cut", "pooled")
    assert refused.returncode == 2 and "Traceback" not in refused.stderr
    ran = edgecl_command("run", *common, "--epochs", 1, "--memory", 16, "--method", "er")
    assert ran.returncode == 0, ran.stderr


class Counted(ArraySource):
    """How often each sample was read."""

    def __init__(self, n):
        super().__init__(np.arange(n * 3, dtype=np.float32).reshape(n, 3), np.zeros(n, np.int32))
        self.reads = np.zeros(n, int)

    def _fill(self, indices, out):
        np.add.at(self.reads, indices, 1)
        super()._fill(indices, out)


def test_a_kept_source_is_read_once(tmp_path):
    base = Counted(100)
    kept = KeptSource(base, tmp_path / "new")
    for rows in ([5, 5, 99, 0], list(range(50, 90)), [0, 99, 60, 1]):
        np.testing.assert_array_equal(kept.read(np.array(rows)), base.x[rows])
    assert base.reads.max() == 1 and base.reads.sum() == 44
    part = kept.subset(np.array([99, 2]))
    np.testing.assert_array_equal(part.read(np.array([1, 0])), base.x[[2, 99]])
    assert base.reads[99] == 1 and not list((tmp_path / "new").iterdir())
    kept.close()
    (tmp_path / "plain").write_text("")
    with pytest.raises(EdgeclError, match="cannot be kept"):
        KeptSource(base, tmp_path / "plain")


def test_a_network_as_a_value_is_a_backbone_of_a_run_too(options):
    from nets import pretrained

    of_file = run(options)
    of_value = run({**options, "backbone": pretrained()})
    assert of_value["accuracy_matrix"] == of_file["accuracy_matrix"]
    assert of_value["front"]["digest"] == of_file["front"]["digest"]
    assert isinstance(of_value["front"], dict) and of_value["config"]["backbone"].startswith("small@")
    assert Backbone.costly
