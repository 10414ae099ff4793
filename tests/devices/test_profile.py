"""Device profiles: complete, sourced, and refused when a figure is not."""

import copy
import re

import pytest
import tomllib

from edgecl.devices import list_profiles, load_profile
from edgecl.devices.figures import MARKS
from edgecl.devices.folder import profile_folder
from edgecl.devices.schema import parse_profile
from edgecl.errors import BadInput

SHIPPED = [n for n in list_profiles() if n != "host"]


def tables(name="rpi_4b"):
    return tomllib.loads((profile_folder() / f"{name}.toml").read_text())


def test_the_devices_and_this_machine_are_there():
    assert {
        "rpi_zero_2w", "rpi_3b_plus", "rpi_4b", "rpi_5", "jetson_nano", "jetson_tx2", "jetson_orin_nano",
        "galaxy_s20", "pixel_6", "pixel_7", "pixel_8", "mid_phone", "low_phone", "host",
    } <= set(list_profiles())  # fmt: skip


PHONES = [n for n in SHIPPED if n.startswith(("galaxy", "pixel")) or n.endswith("phone")]


@pytest.mark.parametrize("name", PHONES)
def test_a_phone_has_a_battery_heat_and_the_power_of_each_cluster(name):
    p = load_profile(name)
    assert 3000 < p.figure("battery", "milliamp_hours").value < 6000
    assert 0.2 < p.figure("thermal", "sustained").value < 1
    assert all(c.core_watts is not None and c.core_watts.value > 0 for c in p.clusters)


@pytest.mark.parametrize("name", SHIPPED)
def test_flash_power_and_instruction_set_are_known(name):
    p = load_profile(name)
    assert all(p.figure("flash", k).value > 0 for k in ("capacity_bytes", "write_iops", "endurance_cycles"))
    assert all(c.isa.value.startswith("ARMv") and c.isa.mark in MARKS for c in p.clusters)
    assert p.lanes == 4


@pytest.mark.parametrize("name", SHIPPED)
def test_kernel_rates_come_from_the_reference_through_a_simulated_core(name):
    p = load_profile(name)
    assert p.figure("kernels", "forward_loop").mark == "modelled"
    assert all(r.mark == "derived" and "scaled by" in r.source for r in p.kernels.values())
    assert 0 < max(e for row in p.kernels["conv", "forward"].efficiency for e in row) <= 1


def figures(node, path=""):
    if isinstance(node, dict) and "value" in node:
        yield path, node
    elif isinstance(node, dict):
        for k, v in node.items():
            yield from figures(v, f"{path}.{k}")
    elif isinstance(node, list):
        for i, v in enumerate(node):
            yield from figures(v, f"{path}[{i}]")


@pytest.mark.parametrize("name", SHIPPED)
def test_every_figure_has_a_mark_and_a_source_and_no_bare_number_hides(name):
    data = tables(name)
    found = list(figures(data))
    assert len(found) > 25
    for path, figure in found:
        assert figure["mark"] in MARKS and len(figure["source"]) > 3, path
    text = (profile_folder() / f"{name}.toml").read_text()
    bare = [line for line in text.splitlines() if re.match(r"\w+ = [\d.]", line) and not line.startswith("schema")]
    assert bare == []


@pytest.mark.parametrize("name", SHIPPED)
def test_a_profile_makes_physical_sense(name):
    p = load_profile(name)
    assert p.name == name
    threads = range(1, p.cores + 1)
    peak = [p.peak_flops(t) for t in threads]
    assert peak == sorted(peak)
    assert all(0 < p.gemm_efficiency(t) <= 1 and 1e9 < p.bandwidth(t) < 1e11 for t in threads)
    assert all(0 < p.parallel(t) <= 1 for t in threads)
    power = [p.power(t) for t in threads]
    assert power == sorted(power) and power[0] > p.figure("power", "idle").value
    assert p.baseline_rss_bytes < p.memory_bytes


def test_known_peaks_are_reproduced():
    assert load_profile("rpi_4b").peak_flops(4) == pytest.approx(57.6e9)
    assert load_profile("rpi_5").peak_flops(1) == pytest.approx(38.37e9, rel=0.01)
    phone = load_profile("galaxy_s20")
    assert phone.cores == 8
    assert phone.peak_flops(1) == pytest.approx(45.4e9, rel=0.01)  # the fastest core first
    assert phone.peak_flops(8) == pytest.approx(219e9, rel=0.01)


def test_threads_between_table_entries_are_interpolated():
    p = load_profile("rpi_4b")
    assert p.bandwidth(1) < p.bandwidth(2) < p.bandwidth(4)
    assert load_profile("rpi_5").bandwidth(2) > load_profile("rpi_5").bandwidth(4)  # measured: 4 threads get less


@pytest.mark.parametrize("threads", [0, 5, -1])
def test_threads_the_device_does_not_have_are_refused(threads):
    with pytest.raises(BadInput, match="4 cores"):
        load_profile("rpi_4b").peak_flops(threads)


def broken(path, value):
    data = copy.deepcopy(tables())
    *way, last = path
    node = data
    for step in way:
        node = node[step]
    if value is None:
        del node[last]
    else:
        node[last] = value
    return data


FIGURE = {"value": 1.0, "mark": "measured", "source": "a bench"}
BROKEN = {
    "no source": (("power", "idle", "source"), None, "power.idle"),
    "empty source": (("power", "idle", "source"), " ", "power.idle"),
    "no mark": (("memory", "bytes", "mark"), None, "memory.bytes"),
    "unknown mark": (("memory", "bytes", "mark"), "guessed", "memory.bytes"),
    "no value": (("memory", "bytes", "value"), None, "memory.bytes"),
    "text": (("memory", "bytes", "value"), "4 GB", "memory.bytes"),
    "boolean": (("memory", "bytes", "value"), True, "memory.bytes"),
    "nan": (("memory", "bytes", "value"), float("nan"), "memory.bytes"),
    "negative": (("memory", "bytes", "value"), -1, "memory.bytes"),
    "bare number": (("thermal", "throttle_c"), 80, "thermal.throttle_c"),
    "unknown figure": (("power", "idel"), FIGURE, "power.idel"),
    "unknown section": (("batery",), {}, "batery"),
    "unknown entry": (("power", "idle", "note"), "x", "power.idle"),
    "missing memory": (("memory", "bytes"), None, "memory.bytes"),
    "missing baseline": (("process", "baseline_rss_bytes"), None, "baseline_rss_bytes"),
    "no clusters": (("clusters",), [], "clusters"),
    "half a core": (("clusters", 0, "count", "value"), 0.5, "clusters"),
    "no clock": (("clusters", 0, "ghz"), None, "clusters"),
    "no bandwidth": (("memory", "bandwidth"), None, "memory.bandwidth"),
    "bandwidth without threads": (("memory", "bandwidth", 0, "threads"), None, "memory.bandwidth"),
    "threads twice": (("memory", "bandwidth", 1, "threads"), 1, "memory.bandwidth"),
    "too many threads": (("memory", "bandwidth", 1, "threads"), 64, "threads"),
    "zero efficiency": (("gemm", "efficiency", 0, "value"), 0, "gemm.efficiency"),
    "another schema": (("schema",), 1, "schema"),
    "instruction set without a source": (("clusters", 0, "isa", "source"), "", "isa"),
    "no simulated loop": (("kernels", "forward_loop"), None, "forward_loop"),
    "rates not a list": (("kernels", "rates"), 3, "kernels.rates"),
    "rates of no class": (("kernels", "rates"), [{"kind": "konv"}], "kernels.rates[0]"),
    "rates without the rest": (("kernels", "rates"), [], "kernels.rates"),
    "no title": (("title",), None, "title"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_profile_with_a_doubtful_figure_is_refused_by_its_place(name):
    path, value, place = BROKEN[name]
    with pytest.raises(BadInput) as error:
        parse_profile(broken(path, value), "test")
    assert place in error.value.cause


def test_a_profile_can_be_a_file(tmp_path):
    text = (profile_folder() / "rpi_4b.toml").read_text()
    (tmp_path / "mine.toml").write_text(text.replace('"rpi_4b"', '"mine"'))
    assert load_profile(tmp_path / "mine.toml").name == "mine"
    (tmp_path / "bad.toml").write_text("schema = = 1")
    with pytest.raises(BadInput, match="not valid"):
        load_profile(tmp_path / "bad.toml")
    with pytest.raises(BadInput, match="cannot be read"):
        load_profile(tmp_path / "none.toml")


def test_an_unknown_device_names_the_closest():
    with pytest.raises(BadInput) as error:
        load_profile("rpi4b")
    assert "rpi_4b" in error.value.remedy and "host" in error.value.remedy
