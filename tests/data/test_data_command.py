"""`edgecl data check` and `preview`, and what `edgecl run` says of a user's data before it trains."""

import json

import numpy as np
import pytest

from edgecl.cli import run_command_line

image_module = pytest.importorskip("PIL.Image")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGECL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("cup", "plant"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(10):
            h, w = rng.integers(16, 24, 2)
            pixels = rng.integers(0, 255, (h, w, 3)) // 2 + 120 * (name == "cup")
            image_module.fromarray(pixels.astype(np.uint8)).save(tmp_path / "photos" / name / f"{i}.png")
    return tmp_path / "photos"


def test_check_says_what_was_understood(photos, capsys):
    assert run_command_line(["data", "check", str(photos), "--size", "16", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {k: found[k] for k in ("kind", "samples", "classes", "shape", "left_out", "warnings", "refused")} == {
        "kind": "pictures", "samples": 20, "classes": 2, "shape": [3, 16, 16], "left_out": {}, "warnings": [],
        "refused": None,
    }  # fmt: skip
    assert found["labels"] == {"cup": 10, "plant": 10}
    assert found["tasks"] == [{"name": "cup/plant", "train_samples": 16, "test_samples": 4}]


def test_check_in_words(photos, capsys):
    assert run_command_line(["data", "check", str(photos)]) == 0
    out = capsys.readouterr().out
    assert "data: 20 pictures, 2 classes, 3x16x16; resized from" in out and "stream: 1 task of 2 classes" in out


def test_check_of_what_is_refused_ends_with_2_and_says_why(photos, capsys):
    (photos / "cup" / "3.png").write_bytes(b"")
    assert run_command_line(["data", "check", str(photos), "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert "cup/3.png (empty)" in found["refused"]["cause"] and found["left_out"] == {"empty": 1}
    assert run_command_line(["data", "check", str(photos)]) == 2
    assert "cup/3.png (empty)" in capsys.readouterr().err
    assert run_command_line(["data", "check", str(photos), "--skip-broken", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 19


def test_check_of_nothing_ends_with_2(tmp_path, capsys):
    assert run_command_line(["data", "check", str(tmp_path / "nowhere"), "--json"]) == 2
    assert "no file or folder" in json.loads(capsys.readouterr().out)["refused"]["cause"]


def test_preview_draws_every_class_as_the_network_sees_it(photos, tmp_path, capsys):
    out = tmp_path / "sheet.png"
    assert run_command_line(["data", "preview", str(photos), "--out", str(out)]) == 0
    sheet = np.asarray(image_module.open(out)).astype(int)
    cells = sheet[22:, 150:]
    assert cells[:90, :90].mean() > cells[100:190, :90].mean() + 80  # cups are lighter than plants
    assert "2 of 2 classes" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["windows", "rows"])
def test_preview_draws_other_samples_as_curves(tmp_path, kind, capsys):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 6, 50) if kind == "windows" else (20, 9)).astype(np.float32)
    np.savez(tmp_path / "in.npz", x=x, y=np.arange(20) % 2)
    assert run_command_line(["data", "preview", str(tmp_path / "in.npz"), "--out", str(tmp_path / "s.png")]) == 0
    assert len(np.unique(np.asarray(image_module.open(tmp_path / "s.png")))) > 5


def test_run_says_what_it_understood_and_the_record_keeps_it(photos, tmp_path, capsys):
    """No option beyond the path and the epochs: sizes, network, split and tasks are chosen."""
    out = tmp_path / "run"
    assert run_command_line(["run", "--stream", str(photos), "--epochs", "1", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("data: 20 pictures, 2 classes, 3x16x16; resized from") and "stream: 1 task" in printed
    about = json.loads((out / "run.json").read_text())["stream"]["about"]
    assert about["line"] in printed and "last 20 % of every class" in about["cut"]


def test_rows_choose_the_mlp_by_themselves(tmp_path, capsys):
    x = np.random.default_rng(0).normal(size=(40, 9)).astype(np.float32)
    np.savez(tmp_path / "in.npz", x=x, y=np.arange(40) % 4)
    arguments = ["run", "--stream", str(tmp_path / "in.npz"), "--epochs", "1", "--out", str(tmp_path / "run")]
    assert run_command_line(arguments) == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["config"]["network"] == "mlp"
