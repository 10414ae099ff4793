"""What was acknowledged survives SIGKILL at random moments, and power cuts on a loop device (needs root)."""

import os
import subprocess

import pytest
from crash_campaign import KINDS, LIVES, kills, power_cuts


def power(tmp_path, rounds, seed):
    if os.getuid() != 0:
        pytest.skip("power cuts need root (loop device, ext4 shutdown)")
    try:
        return power_cuts(tmp_path, rounds, seed)
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        pytest.skip(f"no loop device with ext4 here: {error}")


def test_what_was_acknowledged_survives_sigkill(tmp_path):
    pytest.importorskip("cryptography")
    row = kills(tmp_path, 12, 1)
    assert not row["failures"] and row["samples acknowledged"] > 0


def test_what_was_acknowledged_survives_a_power_cut(tmp_path):
    row = power(tmp_path, 6, 3)
    assert not row["failures"] and row["samples acknowledged"] > 0


@pytest.mark.campaign
def test_kills_of_every_kind_of_store(tmp_path):
    pytest.importorskip("cryptography")
    assert not kills(tmp_path, 2 * LIVES * len(KINDS), 2)["failures"]


@pytest.mark.campaign
def test_power_cuts_with_every_kind_of_store(tmp_path):
    pytest.importorskip("cryptography")
    assert not power(tmp_path, LIVES * len(KINDS), 4)["failures"]
