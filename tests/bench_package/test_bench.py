"""Benches of the package: what is measured, how it is summed up, modelled rows, tables and plots."""

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecl.bench import kinds, show, work
from edgecl.bench.measure import ROUNDS, WARM_UP, Conditions, Spread, interleaved, pinned, record
from edgecl.bench.modelled import modelled_rows, profiles_of
from edgecl.devices.sensors import SensorError
from edgecl.errors import BadInput


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_the_spread_is_numpys_median_and_quartiles(values):
    import numpy as np

    spread = Spread.of(values)
    assert [spread.median, spread.q1, spread.q3] == pytest.approx(np.quantile(values, [0.5, 0.25, 0.75]), abs=1e-6)
    assert spread.n == len(values)


def test_contenders_take_turns_after_a_warm_up():
    calls = []
    found = interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 5)
    assert len(found["a"]) == len(found["b"]) == 5
    assert calls == ["a", "b"] * (5 + WARM_UP)


def test_threads_are_pinned_and_let_go():
    before = os.sched_getaffinity(0)
    with pinned(1) as cores:
        assert os.sched_getaffinity(0) == set(cores) and len(cores) == 1
    assert os.sched_getaffinity(0) == before
    with pytest.raises(BadInput, match="cores"), pinned(10_000):
        pass


def test_latency_rows_have_the_dense_baseline_at_ratio_one():
    wanted = work.cases(["mlp"], 8, [0.1], ["train", "predict"])
    rows = kinds.latency(wanted, 1, 4)
    assert len(rows) == len(wanted)
    for row in rows:
        assert row["n"] == 4 and row["q1"] <= row["median"] <= row["q3"] and row["source"] == "measured"
        assert (row["ratio"] == 1.0) == (row["engine"] == "edgecl" and row["density"] == 1.0)


def test_the_torch_peer_trains_copies_and_leaves_our_model_alone():
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    import numpy as np

    from edgecl.bench.torch_peer import torch_call
    from edgecl.engine import Model

    graph, rng = work.graph_of("mlp"), np.random.default_rng(0)
    model = Model(graph, rng)
    x, y = rng.normal(size=(8, *graph.input_shape)).astype(np.float32), rng.integers(0, 10, 8)
    before = {n: p.values.copy() for n, p in model.parameters.items()}
    torch_call(graph, model, x, y, 1, True)()
    for name, p in model.parameters.items():
        assert np.array_equal(p.values, before[name])  # the peer trains copies of its own


def test_memory_is_measured_in_a_fresh_process_and_stays_within_the_plan():
    (row, *_) = kinds.memory([work.Case("mlp", 8, 1.0)], 1, 2)
    assert row["n"] == 2 and row["unit"] == "B" and row["peak_rss"] > row["baseline_rss"] > 10_000_000
    assert row["median"] <= 1.05 * row["planned"] + 3_000_000


def test_flash_rates_are_positive_and_leave_nothing_behind(tmp_path):
    rows = kinds.flash(tmp_path, 2)
    assert {r["what"].split(":")[0] for r in rows} == {"disk", "store, durable", "store, batched"}
    assert all(r["median"] > 0 for r in rows) and not list(tmp_path.iterdir())


def test_joules_need_a_sensor_and_say_whose_they_are(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGECL_SENSORS_ROOT", str(tmp_path))
    wanted = [work.Case("mlp", 8, 1.0)]
    with pytest.raises(SensorError):
        kinds.energy(wanted, 1, 2, "rapl")
    base = tmp_path / "sys/class/hwmon/hwmon0"
    base.mkdir(parents=True)
    for name, value in (("name", "ina226"), ("power1_input", 4_000_000)):
        (base / name).write_text(f"{value}\n")
    rows = kinds.energy(wanted, 1, 2, "ina", span=0.05)
    assert rows[0]["source"].startswith("measured(ina") and rows[0]["unit"] == "J"
    seconds = kinds.latency(wanted, 1, 3)[0]["median"]
    assert rows[0]["median"] > 4.0 * seconds / 20  # 4 W for as long as a step takes, whatever the load


def test_a_meter_that_stands_still_measures_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGECL_SENSORS_ROOT", str(tmp_path))
    base = tmp_path / "sys/class/powercap/intel-rapl:0"
    base.mkdir(parents=True)
    for name, value in (("name", "package-0"), ("energy_uj", 123), ("max_energy_range_uj", 10**12)):
        (base / name).write_text(f"{value}\n")
    with pytest.raises(SensorError, match="no joule"):
        kinds.energy([work.Case("mlp", 8, 1.0)], 1, 2, "rapl", span=0.05)


def test_a_comparison_across_devices_is_modelled_labelled_and_banded():
    wanted = work.cases(["cnn"], 32, [0.1], ["train"])
    rows = modelled_rows(wanted, ["rpi_zero_2w", "rpi_5"], None)
    assert {r["device"] for r in rows} == {"rpi_zero_2w", "rpi_5"}
    for row in rows:
        assert row["source"] == f"modelled({row['device']})"
        assert row["seconds_band"][0] <= row["seconds"] <= row["seconds_band"][1]
        assert row["seconds_per_sample"] * 32 == pytest.approx(row["seconds"])
    slow, fast = (next(r for r in rows if r["device"] == d and r["density"] == 0.1) for d in ("rpi_zero_2w", "rpi_5"))
    assert slow["seconds"] > fast["seconds"] and fast["ratio"] > 1
    assert any(r["engine"] == "torch" for r in rows)  # modelled whether or not torch is here


def test_devices_stand_side_by_side_a_line_each_in_the_benchs_own_unit():
    rows = modelled_rows(work.cases(["cnn"], 32, [0.1], ["train", "predict"]), ["rpi_4b", "rpi_5"], 2)
    for figure, unit in (("seconds", "s"), ("joules", "J")):
        tables = show.comparison(rows, figure)
        assert [head[0] for head, _ in tables] == ["cnn train, batch 32", "cnn predict, batch 32"]
        for head, cells in tables:
            assert head[1:] == ["threads", "edgecl dense", "edgecl 10% living", "torch dense", "gain"]
            assert [line[0] for line in cells] == ["modelled(rpi_4b)", "modelled(rpi_5)"]
            assert all(unit in cell for line in cells for cell in line[2:-1])
            assert all(float(line[-1].removesuffix("x")) > 1 for line in cells)


@pytest.mark.parametrize("bench", ["latency", "energy", "flash"])
def test_a_plot_is_drawn_of_measured_rows_and_of_devices(tmp_path, bench):
    pytest.importorskip("matplotlib")
    if bench == "flash":
        rows = [{"what": f"{u} of a disk", **Spread.of([1.0, 2.0, 4.0]).row(u)} for u in ("B/s", "1/s", "s")]
    else:
        rows = modelled_rows(work.cases(["mlp"], 8, [0.1], ["train"]), ["rpi_4b", "rpi_5"], 1)
    show.plot(record(bench, "x", rows, work.BASELINE, None), tmp_path / "p.png")
    assert (tmp_path / "p.png").stat().st_size > 5000


def test_all_names_every_shipped_device():
    assert "rpi_4b" in profiles_of("all") and "host" not in profiles_of("all")
    assert profiles_of("a,b") == ["a", "b"]


@pytest.mark.parametrize("nets, densities", [(["nonet"], [0.1]), (["cnn"], [0.0]), (["cnn"], [1.5])])
def test_what_cannot_be_measured_is_refused(nets, densities):
    with pytest.raises(BadInput):
        kinds.latency(work.cases(nets, 8, densities, ["train"]), 1, 1)


def test_a_record_says_where_and_how_and_is_json(tmp_path):
    rows = kinds.latency([work.Case("mlp", 4, 1.0)], 1, 2)
    made = record("latency", "edgecl bench latency", rows, work.BASELINE, Conditions([0]).to_json())
    again = json.loads(json.dumps(made, allow_nan=False))
    assert again["conditions"]["before"].keys() >= {"temperature", "throttled_now"} and again["baseline"]
    assert again["host"]["instruction_set"] and ROUNDS >= 20
    head, cells = show.table(again["rows"])
    assert len(head) == len(cells[0])
    pytest.importorskip("matplotlib")
    show.plot(again, tmp_path / "plots" / "x.png")
    assert (tmp_path / "plots" / "x.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    "value, text",
    [(0.00321, "3.21 ms"), (1.0, "1 s"), (999.7, "1 ks"), (2.5e-6, "2.5 us"), (0, "0 s"), (None, "unknown")],
)
def test_quantities_have_three_digits_and_a_prefix(value, text):
    assert show.quantity(value, "s") == text
