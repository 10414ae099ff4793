"""The site's check finds broken links, broken anchors and foreign requests; all pages of docs stand in the site."""

from __future__ import annotations

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from page_blocks import ROOT

HERE = Path(__file__).parent


def loaded(path: Path):
    spec = spec_from_file_location(f"page_{path.stem}", path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


site = loaded(HERE / "site.py")
docstrings = loaded(ROOT / "docs" / "house_docstrings.py")
OTHER = '<h1 id="top">Other</h1>'


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<a href="other.html#top">x</a><img src="p.png"><a href="https://elsewhere.org">x</a>', None),
        ('<a href="gone.html">x</a>', "is not there"),
        ('<a href="other.html#nowhere">x</a>', "has no such anchor"),
        ('<a href="#nowhere">x</a>', "has no such anchor"),
        ('<img src="gone.png">', "is not there"),
        ('<script src="https://cdn.org/a.js"></script>', "asks another host"),
        ('<link rel="stylesheet" href="//fonts.org/a.css">', "asks another host"),
        ('<link rel="stylesheet" href="style.css">', "asks another host"),
    ],
)
def test_what_is_wrong_with_a_site_is_found(body, fault, tmp_path):
    (tmp_path / "index.html").write_text(body)
    (tmp_path / "other.html").write_text(OTHER)
    (tmp_path / "p.png").write_bytes(b"")
    if "style.css" in body:
        (tmp_path / "style.css").write_text("@import url(https://fonts.org/f.css);")
    found = site.faults(tmp_path)
    assert found == [] if fault is None else len(found) == 1 and fault in found[0]


def test_every_page_stands_in_a_table_of_contents():
    docs = ROOT / "docs"
    listed = {"index"}
    for page in docs.rglob("*.md"):
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(), re.S):
            names = [line for line in tree.splitlines() if line and not line.startswith(":")]
            listed |= {str((page.parent / name).relative_to(docs)) for name in names}
    assert listed == {str(p.relative_to(docs).with_suffix("")) for p in docs.rglob("*.md")}


def test_a_docstring_of_the_house_becomes_lists_and_drawings():
    text = "What it is.\n\nParameters\n----------\na, b : sizes;  c : of *x\n    more\n\n    y = x * 2"
    assert docstrings.rewrite(text.splitlines()) == [
        "What it is.", "", "**Parameters**", "", "- ``a, b``: sizes", "- ``c``: of \\*x more", "",
        "::", "", "        y = x * 2", "",
    ]  # fmt: skip
