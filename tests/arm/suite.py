"""The core tests in the emulated Python; the inner loops against the device profiles."""

from __future__ import annotations

import sys

from emulator import emulate, folder
from tools import LOOP_PROGRAMS, OUT, REPOSITORY, require, run

# What the oldest processor runs: every folder whose tests need no torch and little time.
FOLDERS = ["kernels", "engine", "compiler", "graph", "methods", "sparsity", "storage", "data", "learner", "budget",
           "devices", "report"]  # fmt: skip
# Left out, with why. See docs/arm.md.
LEFT_OUT = {
    "tests/budget": "the resident set of an emulated process holds the emulator",
    "tests/learner/test_planned_memory.py": "the same",
    "tests/learner/test_shedding.py": "the same",
}
# The newer processors run what could differ on them: the compiled code.
FAST = ["tests/kernels", "tests/engine/test_contract.py", "tests/storage/test_checksum.py",
        "tests/storage/test_store.py", "tests/storage/test_carousel.py"]  # fmt: skip


def run_suite() -> None:
    pytest("cortex-a53", [f"tests/{f}" for f in FOLDERS])
    for cpu in ("cortex-a72", "cortex-a76"):
        pytest(cpu, FAST)


def pytest(cpu: str, paths: list[str]) -> None:
    ignored = [f"--ignore={REPOSITORY / path}" for path in LEFT_OUT]
    chosen = [REPOSITORY / path for path in paths if path not in LEFT_OUT]
    options = ["-x", "-p", "no:cacheprovider", "-c", REPOSITORY / "pyproject.toml", f"--rootdir={REPOSITORY}"]
    emulate(cpu, ["-P", "-m", "pytest", *options, *ignored, *chosen], cwd=OUT)


def check_import() -> None:
    """The aarch64 wheel, installed in the root, trains a step and stores a sample."""
    from wheels import USE

    emulate("cortex-a53", ["-P", "-c", USE], cwd=OUT)


def check_cycles() -> None:
    """The NEON inner loops on models of the cores: every device profile holds what they give."""
    require(LOOP_PROGRAMS)
    bench = REPOSITORY / "bench" / "neon_cycles.py"
    run([sys.executable, bench, "--check", "--json", folder("counts") / "cycles.json"], cwd=OUT)
