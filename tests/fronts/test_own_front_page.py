"""The code of docs/extend/own_front.md runs as it stands."""

import re
from pathlib import Path

from edgecl.fronts import FRONTS

PAGE = Path(__file__).parents[2] / "docs" / "extend" / "own_front.md"


def test_the_code_of_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S))
    assert code.count("check_front(") == 1
    before = dict(FRONTS.loaded()), dict(FRONTS._origins)
    try:
        exec(compile(code, str(PAGE), "exec"), {"__name__": "own_front_page"})
    finally:
        FRONTS._entries, FRONTS._origins = before
