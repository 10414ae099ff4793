"""Pictures of our pages in a real browser, for eyes: docs/screenshots. Needs Chromium.

    python bench/screenshots.py            # runs of 1, 10 and 100 tasks (seconds each), then the pictures
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

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


def main() -> None:
    only, out = sys.argv[1:], ROOT / "docs" / "screenshots"
    out.mkdir(exist_ok=True)
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
