"""The table of four tasks on every device: complete, consistent, labelled as modelled."""

import json

import pytest
from typer.testing import CliRunner

from edgecl.commands.devices import app
from edgecl.devices import load_profile
from edgecl.devices.overview import RAM_SHARE, flash_years, largest_model, rows, tasks

BOARDS = ("rpi_zero_2w", "rpi_4b", "pixel_6")


@pytest.fixture(scope="module")
def found():
    return rows(BOARDS)


def test_every_task_on_every_device_is_modelled_with_a_band(found):
    assert len(found) == len(BOARDS) * 4
    for r in found:
        assert r["source"] == f"modelled({r['device']})"
        for key in ("torch", "edgecl"):
            low, high = r[f"{key}_band"]
            assert low < 1 < high
            assert r[f"{key}_joules_per_image"] > 0
            images = r["samples_per_task"] * r["passes"]
            cool = r[f"{key}_seconds_per_image"] * images
            sustained = load_profile(r["device"]).figure("thermal", "sustained").value
            assert cool <= r[f"{key}_seconds_per_task"] < cool / sustained


def test_a_task_has_its_streams_classes_and_the_long_stream_a_thousand():
    by_name = {t.name: t for t in tasks()}
    assert set(by_name) == {"image", "inertial", "keyword", "glyphs"}
    assert by_name["glyphs"].graph.classes >= 1000
    assert all(t.graph.input_shape == t.shape and t.graph.classes == t.classes for t in by_name.values())


def test_the_largest_model_fits_and_grows_with_memory():
    zero, four = load_profile("rpi_zero_2w"), load_profile("rpi_4b")
    assert largest_model(zero, False) < largest_model(four, False)
    assert largest_model(zero, True) == 0  # PyTorch alone fills it
    assert largest_model(four, True) < largest_model(four, False)
    assert RAM_SHARE * zero.memory_bytes > zero.baseline_rss_bytes


def test_flash_lasts_longer_the_slower_it_is_written():
    p, task = load_profile("rpi_4b"), tasks()[0]
    years = flash_years(p, task, 1.0)
    assert flash_years(p, task, 2.0) == pytest.approx(2 * years)
    # 32 GB, 900 cycles, amplification 3; 784 + 20 + 64 bytes a second
    assert years == pytest.approx(32e9 * 900 / (868 * 3 * 86400 * 365))


def test_the_command_writes_the_page_and_the_figures(tmp_path):
    done = CliRunner().invoke(app, ["table", "--devices", "rpi_5,low_phone", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    data = json.loads((tmp_path / "devices.json").read_text())
    assert {r["device"] for r in data["rows"]} == {"rpi_5", "low_phone"}
    page = (tmp_path / "devices.md").read_text()
    assert "Nothing here was measured on these devices" in page
    assert page.count("| rpi_5 |") == 5 and page.count("noto-glyphs") == 1


def test_show_gives_every_figure_with_mark_and_source_and_our_kernels():
    shown = CliRunner().invoke(app, ["show", "pixel_6"]).output
    for text in ("clusters[0].core_watts", "1.517 W", "freqbench", "battery", "12 GB/s", "modelled", "conv forward"):
        assert text in shown
