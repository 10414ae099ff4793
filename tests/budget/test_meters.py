"""The resident set a budget is checked against is the kernel's, and it follows what the process touches."""

from __future__ import annotations

import mmap

import numpy as np

from edgecl.budget.meters import _status, peak_resident, resident

SLACK = 1 << 20


def test_resident_is_vmrss():
    assert abs(resident() - _status("VmRSS")) < SLACK


def test_resident_grows_by_touched_bytes_and_peak_stays():
    before = resident()
    block = mmap.mmap(-1, 64 << 20)  # not from the heap, which may have that much to give again
    np.frombuffer(block, np.uint8)[:] = 1
    grown = resident()
    assert abs(grown - before - len(block)) < SLACK
    block.close()
    assert resident() < grown - (60 << 20)
    assert peak_resident() >= grown - SLACK
