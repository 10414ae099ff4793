"""The code of docs/extend/own_executor.md runs as it stands."""

from page_code import run_code_of

from edgecl.fronts.executors import EXECUTORS


def test_the_code_of_the_page_runs():
    run_code_of("own_executor", "check_executor(", EXECUTORS)
