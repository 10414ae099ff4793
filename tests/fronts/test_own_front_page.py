"""The code of docs/extend/own_front.md runs as it stands."""

from page_code import run_code_of

from edgecl.fronts import FRONTS


def test_the_code_of_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_code_of("own_front", "check_front(", FRONTS)
