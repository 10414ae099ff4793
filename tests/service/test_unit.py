"""The unit that is shipped is the unit that is written, and systemd finds little that it may do."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from edgecl.__main__ import main
from edgecl.service.unit import Unit, feeder_text, files

DEPLOY = Path(__file__).parents[2] / "deploy"
EDGECL, TOKENS = "/opt/edgecl/bin/edgecl", {"tokens": "/etc/edgecl/tokens"}
SHIPPED = {
    "edgecl.service": Unit(EDGECL),
    "edgecl-lan.service": Unit(EDGECL, allow="localhost 192.168.0.0/16", credentials=TOKENS),
}
TEXTS = {**{name: unit.text() for name, unit in SHIPPED.items()}, "edgecl-feed@.service": feeder_text(EDGECL)}
THRESHOLDS = [("edgecl.service", 8), ("edgecl-lan.service", 14), ("edgecl-feed@.service", 8)]
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


@pytest.mark.parametrize("name", TEXTS)
def test_shipped_units_are_as_the_program_writes_them(name):
    assert (DEPLOY / name).read_text() == TEXTS[name]


@needs_systemd
@pytest.mark.parametrize(("name", "threshold"), THRESHOLDS)
def test_the_units_exposure_is_small(name, threshold):
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={threshold}", str(DEPLOY / name)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-400:]


def test_install_writes_what_dry_run_prints_and_remove_leaves_what_is_yours(tmp_path, capsys):
    given = ["service", "install", "--root", str(tmp_path), "--command", "/opt/edgecl/bin/edgecl"]
    assert main([*given, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert not any(tmp_path.iterdir())
    assert main(given) == 0
    for name, text in files(SHIPPED["edgecl.service"]).items():
        assert (tmp_path / name).read_text() == text
        assert text in printed
    assert main(given) == 0  # the example is a configuration by now: the plan's figures stand in the unit
    text = (tmp_path / "etc/systemd/system/edgecl.service").read_text()
    assert "MemoryHigh=" in text and "# planned: " in text
    assert main(["service", "status", "--root", str(tmp_path)]) == 0
    (tmp_path / "etc/edgecl/edgecl.toml").write_text("# mine")
    assert main(["service", "remove", "--root", str(tmp_path)]) == 0
    assert main(["service", "status", "--root", str(tmp_path)]) == 1
    assert (tmp_path / "etc/edgecl/edgecl.toml").read_text() == "# mine"
