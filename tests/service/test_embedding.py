"""The examples of programs that hold a learner run as they stand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples" / "embedding"


@pytest.mark.parametrize(("name", "says"), [("thread.py", "% right"), ("asyncio_program.py", "times")])
def test_the_example_runs(name, says, tmp_path):
    done = subprocess.run([sys.executable, "-P", str(EXAMPLES / name), str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert says in done.stdout
    number = int("".join(c for c in done.stdout if c.isdigit()))
    assert number >= (90 if name == "thread.py" else 1)


def test_the_fastapi_application_runs(tmp_path, monkeypatch):
    pytest.importorskip("fastapi")
    testclient = pytest.importorskip("fastapi.testclient")
    monkeypatch.setenv("EDGECL_FOLDER", str(tmp_path))
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import fastapi_application

    with testclient.TestClient(fastapi_application.app) as client:
        dark, bright = bytes(144 * 8), bytes([200]) * 144 * 8
        assert client.post("/predict", content=dark).status_code == 422
        assert client.post("/observe/dark", content=dark).json() == {"ids": list(range(8))}
        client.post("/observe/bright", content=bright)
        assert client.post("/learn", params={"steps": 40}).json() == {"steps": 40}
        assert client.post("/predict", content=dark + bright).json() == {"labels": ["dark"] * 8 + ["bright"] * 8}
