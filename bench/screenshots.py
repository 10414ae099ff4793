"""Pictures of our pages in a real browser, for eyes: docs/screenshots. Needs Chromium; the service's Playwright too.

    python bench/screenshots.py            # runs of 1, 10 and 100 tasks (seconds each), then the pictures
    python bench/screenshots.py service    # the page of the service, taught three classes from a film
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "browser"))
from page_streams import stream_of  # noqa: E402

from edgecl.report.page import run_page  # noqa: E402
from edgecl.run import run  # noqa: E402

SHOTS = {  # name: tasks, width, height, dark
    "one_task": (1, 1200, 2300, False), "ten_tasks": (10, 1200, 3700, False), "hundred_tasks": (100, 1200, 4300, False),
    "ten_tasks_dark": (10, 1200, 3700, True), "ten_tasks_phone": (10, 390, 6200, False),
}  # fmt: skip


def shoot(page: Path, target: Path, width: int, height: int, dark: bool) -> None:
    """A PNG of ``page``; narrow ones in a frame, since a window has a least width."""
    chromium = shutil.which("chromium") or "chromium-browser"
    frame = page.with_name(f"frame-{page.name}")
    frame.write_text(
        f"<body style='margin:0'><iframe src='{page.name}' style='border:0;width:{width}px;height:{height}px'></iframe>"
    )
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}",
             f"--window-size={width},{height}", "--virtual-time-budget=6000", f"--screenshot={target}",
             f"--blink-settings=preferredColorScheme={0 if dark else 1}", frame.as_uri()],
            check=True, capture_output=True, timeout=300,
        )  # fmt: skip


def shoot_service(out: Path) -> None:
    """The page of the service: both views, wide and narrow, light and dark; the device's own camera, without TLS."""
    for folder in ("shared", "service"):
        sys.path.insert(0, str(ROOT / "tests" / folder))
    from pages import NAME, SCENES, browser, teachable
    from test_page import add, scene, teach

    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        daemon, address = teachable(folder)
        try:
            for width, dark in ((1400, False), (1400, True), (360, False), (360, True)):
                with browser(folder, width, dark) as page:
                    page.goto(address)
                    if (width, dark) == (1400, False):
                        add(page, *SCENES)
                    for _ in range(2):
                        for key, name in enumerate(SCENES, 1):
                            teach(page, name, str(key))
                    scene(page, "green")
                    page.wait_for_timeout(700)
                    named = f"{width}_dark" if dark else f"{width}"
                    page.screenshot(path=out / f"service_teach_{named}.png", full_page=True)
                    page.keyboard.press("w")
                    page.wait_for_timeout(5000)
                    page.screenshot(path=out / f"service_watch_{named}.png", full_page=True)
        finally:
            daemon.end()
    with tempfile.TemporaryDirectory() as work:
        daemon, address = teachable(Path(work), tls=False, name=NAME)
        try:
            shoot_device(out, Path(work), daemon, address)
        finally:
            daemon.end()


def shoot_device(out: Path, work: Path, daemon: Any, address: str) -> None:
    """Why the browser's camera is not given, on a phone; then the device's own, live."""
    from pages import browser
    from test_feed import Feeder
    from test_page import add, best
    from test_page_sources import COLOURS, pictures

    with browser(work, 360) as page:
        page.goto(address)
        page.wait_for_selector("#view button")
        page.screenshot(path=out / "service_no_tls_360.png")
    with browser(work, 1400) as page:
        page.goto(address)
        add(page, *COLOURS)
        for key, name in enumerate(COLOURS, 1):
            pictures(work / name, name, 3)
            with Feeder(daemon, "camera", "--play", str(work / name), "--hold", "0.1"):
                page.check("[value=device]")
                page.wait_for_selector("#view canvas[role=img]")
                page.wait_for_timeout(500)
                page.keyboard.down(f"{key}")
                page.wait_for_timeout(900)
                page.keyboard.up(f"{key}")
                while name == "blue" and best(page) != name:
                    page.wait_for_timeout(100)
                if name == "blue":
                    page.screenshot(path=out / "service_device_1400.png")
            page.wait_for_selector("#view canvas", state="detached")


def main() -> None:
    only, out = sys.argv[1:], ROOT / "docs" / "screenshots"
    out.mkdir(exist_ok=True)
    if only == ["service"]:
        return shoot_service(out)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        for name, (tasks, width, height, dark) in SHOTS.items():
            if only and name not in only:
                continue
            page = folder / f"{tasks}.html"
            if not page.exists():
                options = {"stream": stream_of(folder, tasks), "network": "mlp", "method": "er", "epochs": 4,
                           "memory": 100, "batch": 8, "ram": "200MB"}  # fmt: skip
                command = "edgecl run --stream things --ram 200MB"
                page.write_text(run_page(run({k: str(v) for k, v in options.items()}, command=command)))
            shoot(page, out / f"{name}.png", width, height, dark)
            print(out / f"{name}.png")


if __name__ == "__main__":
    main()
