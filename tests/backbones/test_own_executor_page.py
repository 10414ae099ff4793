"""The code of docs/extend/own_executor.md runs as it stands."""

import re
from pathlib import Path

from edgecl.fronts.executors import EXECUTORS

PAGE = Path(__file__).parents[2] / "docs" / "extend" / "own_executor.md"


def test_the_code_of_the_page_runs():
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S))
    assert code.count("check_executor(") == 1
    before = dict(EXECUTORS.loaded()), dict(EXECUTORS._origins)
    try:
        exec(compile(code, str(PAGE), "exec"), {"__name__": "own_executor_page"})
    finally:
        EXECUTORS._entries, EXECUTORS._origins = before
