"""The core tests in the emulated Python; the inner loops against the device profiles."""

from __future__ import annotations

import sys

from emulator import emulate, folder
from tools import HERE, LOOP_PROGRAMS, OUT, REPOSITORY, SITE, require, run

CPUS = ["cortex-a53", "cortex-a72", "cortex-a76"]
# The core suite in parts. A property is tried on a few examples (fewer_examples.py).
PARTS = {
    "compiled": ["kernels", "engine", "storage/test_store.py"],
    "store": ["storage"],
    "rest": ["compiler", "graph", "methods", "sparsity", "devices/test_cost.py", "data", "learner", "report"],
}
# What a processor runs: the oldest everything, the others what is compiled (the rest is Python and runs the same code)
SHARES = {cpu: list(PARTS) if cpu == CPUS[0] else ["compiled"] for cpu in CPUS}
_LONG = "minutes under emulation, of code that no processor changes; the demo runs it from end to end"
_RSS = "the resident set of an emulated process holds the emulator"
# Left out, with why: files, and tests by their name
LEFT_OUT = {
    "learner/test_planned_memory.py": _RSS,
    "learner/test_shedding.py": _RSS,
    "learner/test_soak.py": _RSS,
    **dict.fromkeys(
        ["learner/test_run.py", "learner/test_resume.py", "learner/test_flops.py", "learner/test_miro.py",
         "learner/test_refresh.py", "learner/test_governed_run.py", "learner/test_retrain.py",
         "learner/test_retrain_killed.py", "learner/test_retrain_refused.py", "learner/test_forget_killed.py",
         "learner/test_forget_subject.py", "storage/test_damage.py", "storage/test_transfer.py",
         "storage/test_stress.py", "data/test_keywords.py", "data/test_convert.py", "data/test_user_data.py"],
        _LONG,
    ),
    "graph/test_exporters.py": "onnxruntime dies in its own import under QEMU; what leaves is Python",
    "compiler/test_plan.py": "whole large networks, minutes under emulation; test_agreement.py tries every operator",
    **dict.fromkeys(
        [f"compiler/test_saved.py::test_the_forward_pass_keeps_its_bits_and_gradients_their_direction[{norm}-{net}]"
         for norm in (False, True) for net in ("resnet18", "mobilenetv2")],
        "the same; the smaller networks stay",
    ),
    **dict.fromkeys(
        [f"compiler/test_plan_bytes.py::test_planned_lists_and_scratch_are_those_of_the_kernels[{case}-{net}]"
         for case in ("32-0.0-1", "8-0.75-2", "16-0.9-1", "1-0.9-2") for net in ("resnet20", "mobilenetv2")],
        "the same; the smaller networks stay",
    ),
    "storage/test_forget.py::test_who_reads_while_files_are_overwritten_finds_no_damage": _LONG,
    **dict.fromkeys(
        [f"storage/test_forget.py::test_a_death_in_the_middle_is_ended_by_the_next_opening[{kind}-{calls}]"
         for kind in ("clear", "encrypted") for calls in (5, 40, 90, 500, 1500)],
        "a child each, seconds under emulation; one of each kind stays",
    ),
    "engine/test_agreement.py::test_the_random_graphs_reach_every_operator": "needs 150 examples, of Python alone",
    "learner/test_learner.py::test_an_interrupt_at_any_moment_leaves_a_learner_that_goes_on": _LONG,
    "learner/test_forget_device.py": "loop devices belong to the machine, not to the emulated process",
    "storage/test_failing_card.py": "the same",
    "kernels/test_threads.py::test_a_forked_child_makes_a_pool_of_its_own": "QEMU's user mode aborts where a program "
    "with threads forks",
    "storage/test_nth_call.py": "the preloaded library is this machine's",
    "storage/test_interrupted.py::test_an_interrupted_store_takes_nothing_more_and_is_whole_when_opened_again": "its "
    "alarms, microseconds apart, all come before anything was written",
    "storage/test_owner.py::test_a_directory_one_may_not_write": "root of a namespace of our own may write it",
}  # fmt: skip


def run_suite(cpus: list[str], parts: list[str] | None) -> None:
    """``parts`` (default: its share) of the suite on each of ``cpus``."""
    for cpu in cpus:
        for part in parts or SHARES[cpu]:
            pytest(cpu, [f"tests/{path}" for path in PARTS[part]])


def pytest(cpu: str, paths: list[str]) -> None:
    options = ["-p", "no:cacheprovider", "-p", "fewer_examples", "--durations=15"]
    options += ["-c", REPOSITORY / "pyproject.toml", f"--rootdir={REPOSITORY}"]
    for name in LEFT_OUT:
        path = REPOSITORY / "tests" / name
        options.append(f"--deselect=tests/{name}" if "::" in name else f"--ignore={path}")
    words = ["-P", "-m", "pytest", *options, *(REPOSITORY / path for path in paths)]
    emulate(cpu, words, cwd=OUT, env={"PYTHONPATH": f"{SITE}:{HERE}"})


def check_import() -> None:
    """The aarch64 wheel, installed in the root, trains a step and stores a sample."""
    from wheels import USE

    emulate("cortex-a53", ["-P", "-c", USE], cwd=OUT)


def check_cycles() -> None:
    """The NEON inner loops on models of the cores: every device profile holds what they give."""
    require(LOOP_PROGRAMS)
    bench = REPOSITORY / "bench" / "neon_cycles.py"
    run([sys.executable, bench, "--check", "--json", folder("counts") / "cycles.json"], cwd=OUT)
