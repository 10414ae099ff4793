"""Speed of the disk under a folder: sequential, random and synced."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np

BLOCK = 1 << 20
PAGE = 4096


def measure_flash(folder: Path, megabytes: int = 64, seconds: float = 1.5) -> dict[str, float]:
    """bytes/s of writing (synced) and reading back (past the page cache where the system allows) a file in ``folder``,
    4 KB random reads and synced writes a second, and the median seconds of an fdatasync.

    The file is ``megabytes`` long and removed. Raises OSError.
    """
    rng = np.random.default_rng(0)
    block = rng.bytes(BLOCK)
    handle, name = tempfile.mkstemp(prefix=".edgecl-calibrate-", dir=folder)
    try:
        start = time.perf_counter()
        for _ in range(megabytes):
            os.write(handle, block)
        os.fdatasync(handle)
        write = megabytes * BLOCK / (time.perf_counter() - start)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_RANDOM)
        reads, start = 0, time.perf_counter()
        while (spent := time.perf_counter() - start) < seconds and reads < megabytes * BLOCK // PAGE // 4:
            os.pread(handle, PAGE, int(rng.integers(megabytes * BLOCK // PAGE)) * PAGE)
            reads += 1
        read_iops = reads / spent if reads else 0.0
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        os.lseek(handle, 0, os.SEEK_SET)
        start = time.perf_counter()
        while os.read(handle, BLOCK):
            pass
        read = megabytes * BLOCK / (time.perf_counter() - start)
        syncs: list[float] = []
        begin = time.perf_counter()
        while time.perf_counter() - begin < seconds:
            start = time.perf_counter()
            os.pwrite(handle, block[:PAGE], int(rng.integers(megabytes * BLOCK // PAGE)) * PAGE)
            os.fdatasync(handle)
            syncs.append(time.perf_counter() - start)
    finally:
        os.close(handle)
        os.unlink(name)
    return {
        "write_bytes_per_s": write,
        "read_bytes_per_s": read,
        "read_iops": max(read_iops, 1.0),
        "write_iops": len(syncs) / sum(syncs),
        "fsync_seconds": float(np.median(syncs)),
    }
