"""A real browser, without a driver: Chromium opens a page, runs the measuring script in it, and says what it holds."""

from __future__ import annotations

import html
import json
import re
import subprocess
from pathlib import Path

import pytest
from chrome import chromium
from page_streams import stream_of

from edgecl.report.page import run_page
from edgecl.run import run

MEASURE = Path(__file__).with_name("measure.js").read_text()


@pytest.fixture(scope="session", name="chromium")
def found_chromium():
    return chromium()


def open_page(chromium, url, folder, *flags):
    command = [
        chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
        f"--user-data-dir={folder}/profile", "--virtual-time-budget=8000", *flags, str(url),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stdout


@pytest.fixture
def measure(chromium, tmp_path):
    """measure(text, width=1200, dark=False): what the script found in a page of HTML, opened so wide."""

    def look(text, width=1200, dark=False):
        page = tmp_path / "page.html"
        page.write_text(text.replace("</body>", f"<script>{MEASURE}</script></body>"), encoding="utf-8")
        scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
        size = f"--window-size={width},900"
        dom = open_page(chromium, page.as_uri(), tmp_path, "--dump-dom", scheme, size)
        return json.loads(html.unescape(re.search(r"<title>(.*?)</title>", dom, re.DOTALL)[1]))

    return look


@pytest.fixture(scope="session")
def records(tmp_path_factory):
    """records(tasks): the record of a real run over so many tasks, made once."""
    made, folder = {}, tmp_path_factory.mktemp("streams")

    def of(tasks):
        if tasks not in made:
            options = {"stream": stream_of(folder, tasks), "network": "mlp", "method": "er", "epochs": 2, "memory": 100,
                       "batch": 8, "ram": "2GB"}  # fmt: skip
            made[tasks] = run({k: str(v) for k, v in options.items()}, command="edgecl run --stream photos")
        return made[tasks]

    return of


@pytest.fixture(scope="session")
def pages(records):
    """pages(tasks): its page."""
    return lambda tasks: run_page(records(tasks))
