"""The resident set a budget is checked against is the kernel's, and it follows what the process touches."""

from __future__ import annotations

import numpy as np

from edgecl.budget.meters import _status, peak_resident, resident

SLACK = 1 << 20


def test_resident_is_vmrss():
    assert abs(resident() - _status("VmRSS")) < SLACK


def test_resident_grows_by_touched_bytes_and_peak_stays():
    before = resident()
    block = np.ones(64 << 20, np.uint8)
    grown = resident()
    assert abs(grown - before - block.nbytes) < SLACK
    del block
    assert resident() < grown - (60 << 20)
    assert peak_resident() >= grown - SLACK
