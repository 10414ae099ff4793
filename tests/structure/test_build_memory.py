"""A build starts as many compilers as its memory holds, by the control group that it runs in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest
from source import ROOT

FIRST, SECOND = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
PROJECT = f"""
cmake_minimum_required(VERSION 3.18)
project(tried LANGUAGES CXX)
include({ROOT}/cmake/memory.cmake)
add_executable(tried tried.cpp)
"""


@pytest.fixture
def group():
    """group(bytes) -> a command's prefix that runs it in a control group below one of that limit."""
    version1 = (FIRST / "memory.limit_in_bytes").exists()
    outer = (FIRST if version1 else SECOND) / f"edgecl-{uuid4().hex[:8]}"
    try:
        (outer / "inner").mkdir(parents=True)
    except OSError:
        pytest.skip("needs root and a control group of its own")
    limit = outer / ("memory.limit_in_bytes" if version1 else "memory.max")

    def prefix(size: int) -> list[str]:
        try:
            limit.write_text(str(size))
        except OSError:
            pytest.skip("needs the memory controller")
        return ["sh", "-c", f'echo $$ > {outer}/inner/cgroup.procs && exec "$@"', "sh"]

    yield prefix
    (outer / "inner").rmdir()
    outer.rmdir()


def configured(folder: Path, prefix: list[str]) -> tuple[str, str]:
    """(what CMake says, the build file) of a small project that takes our rule."""
    for program in ("cmake", "ninja"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    (folder / "CMakeLists.txt").write_text(PROJECT)
    (folder / "tried.cpp").write_text("int main() {}\n")
    command = [*prefix, "cmake", "-G", "Ninja", "-S", str(folder), "-B", str(folder / "b")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ})
    return done.stdout, (folder / "b" / "build.ninja").read_text() + (folder / "b/CMakeFiles/rules.ninja").read_text()


@pytest.mark.parametrize(("megabytes", "jobs"), [(512, 1), (1100, 2), (640, 2), (256, 1)])
def test_a_limit_of_a_group_above_limits_the_compilers(tmp_path, group, megabytes, jobs):
    said, build = configured(tmp_path, group(megabytes << 20))
    assert f"{megabytes} MB for compilers, {jobs} at a time" in said
    assert re.search(rf"pool edgecl_compile\n +depth = {jobs}\n", build) and "pool = edgecl_compile" in build
    assert ("ggc-min-heapsize" in build) == (megabytes < 1024)


def test_without_a_limit_memory_that_is_free_decides(tmp_path):
    said, _ = configured(tmp_path, [])
    megabytes, jobs = map(int, re.search(r"(\d+) MB for compilers, (\d+) at a time", said).groups())
    assert jobs == max(1, (megabytes - 100) // (350 if megabytes >= 1024 else 220))
