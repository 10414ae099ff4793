"""The code of a page of docs/extend, run as it stands; what it registers leaves with it."""

import re
from pathlib import Path

EXTEND = Path(__file__).parents[2] / "docs" / "extend"


def run_code_of(name, call, registry):
    """``call``: what the page's code does once."""
    page = EXTEND / f"{name}.md"
    code = "\n".join(re.findall(r"```python\n(.*?)```", page.read_text(), re.S))
    assert code.count(call) == 1
    before = dict(registry.loaded()), dict(registry._origins)
    try:
        exec(compile(code, str(page), "exec"), {"__name__": f"{name}_page"})
    finally:
        registry._entries, registry._origins = before
