"""From `edgecl teach` to the first right prediction of a class taught with 10 pictures: a person's steps, and seconds.

On a fresh folder, in Chromium, whose camera plays a film of real pictures (Fashion-MNIST): a person types the names of
two classes, shows ten pictures of each while its key is held, then shows pictures that were never taught. The clock
starts with the process. A prediction counts once a picture that was never taught has been there for longer than an
answer takes. Seconds that pass because the film is not yet where it must be stand for a person's time to bring the
thing, and are told apart as ``waited_for_the_film``. Afterwards 100 pictures of each class that were never taught are
asked for, through the same page's token.

Contenders: the pretrained backbone (its weights must be here: `edgecl models get efficientnet_lite0`) and the small
network that is taught without them. Needs Chromium and the data: `edgecl data get split-fashion`.

    python bench/teach_page.py [--rounds 3] [--json FILE] [--picture FILE.png]
"""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from common import Neighbours, arguments, median, table, write
from PIL import Image

from edgecl.data import load_stream
from edgecl.data.readers.resize import letterbox
from edgecl.service import Client

ROOT = Path(__file__).parents[1]
for folder in ("shared", "service"):
    sys.path.insert(0, str(ROOT / "tests" / folder))
CLASSES = {"trousers": 1, "bag": 8}  # of Fashion-MNIST
PICTURES, SHOWN, LATER, ASKED = 10, 40, 8, 100  # taught; in the film meanwhile, and later; asked for at the end
WIDTH, HEIGHT, FPS = 160, 120, 10
HOLD, GAP = (1, 3), 6  # frames that a picture is there, while taught and later; and nothing, in between
SURE = 0.6  # seconds after which what the page says is of this scene
MARK = 8  # pixels of the corner that says what the film shows: its light, by tens
CASES = {"efficientnet_lite0 at 'pooled'": (), "small network (cnn, 32 pixels)": ("--backbone", "none")}
STEPS = ("run edgecl teach", "type the first name", "type the second name", "hold key 1 before ten pictures",
         "hold key 2 before ten pictures", "show another one")  # fmt: skip
SCENE = """() => {
  const video = document.querySelector("#view video");
  if (!video || !video.videoWidth) return -1;
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0);
  const light = context.getImageData(3, 3, 1, 1).data[0];
  return Math.round(light / 40) - 1;
}"""  # 0, 1: taught pictures of a class; 2, 3: later ones; 4: between scenes


def pictures(unit: int, test: bool, count: int) -> np.ndarray:
    """uint8 [count, 1, 28, 28] of a class."""
    stream = load_stream("split-fashion")
    try:
        for task in stream.tasks:
            source = task.test if test else task.train
            rows = np.flatnonzero(source.labels == unit)[:count]
            if len(rows):
                return source.read(rows)
    finally:
        stream.close()
    raise AssertionError(unit)


def film(path: Path) -> Path:
    """Scenes one after the other, again and again, each marked in its corner (Y4M, 4:2:0, grey)."""
    scenes = [pictures(unit, False, SHOWN) for unit in CLASSES.values()]
    scenes += [pictures(unit, True, LATER) for unit in CLASSES.values()]
    grey = b"\x80" * (WIDTH * HEIGHT // 2)
    with open(path, "wb") as file:
        file.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{FPS}:1 Ip A1:1 C420jpeg\n".encode())
        for number, scene in enumerate(scenes):
            for x in [*scene, None]:
                light = np.zeros((HEIGHT, WIDTH), np.uint8)
                if x is not None:
                    large = letterbox(np.ascontiguousarray(x), (HEIGHT, HEIGHT))[0]
                    light[:, (WIDTH - HEIGHT) // 2 : (WIDTH + HEIGHT) // 2] = large
                light[:MARK, :MARK] = 40 * (5 if x is None else number + 1)
                for _ in range(GAP if x is None else HOLD[number // 2]):
                    file.write(b"FRAME\n" + light.tobytes() + grey)
    return path


@contextmanager
def teaching(folder: Path, more: tuple[str, ...]) -> Iterator[subprocess.Popen[str]]:
    """`edgecl teach` in a process of its own."""
    from pages import free_port

    command = [sys.executable, "-P", "-m", "edgecl", "teach", "--no-browser", "--state", "desk"]
    with open(folder / "log", "w") as log:
        running = subprocess.Popen(
            [*command, "--port", str(free_port()), *more], cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
    try:
        yield running
    finally:
        running.send_signal(signal.SIGINT)
        running.wait(60)


def address_of(running: subprocess.Popen[str]) -> tuple[str, str]:
    for line in running.stdout or ():
        if found := re.search(r"The page: (http://\S+/)#token=(\S+)", line):
            return found[1], found[2]
    raise SystemExit("edgecl teach gave no address.")


class Clock:
    """Seconds since ``began``, and how many of them were waited for the film."""

    def __init__(self, began: float) -> None:
        self.began, self.waited = began, 0.0

    def until(self, condition: Any, film: bool = False, limit: float = 120.0) -> None:
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > limit:
                raise SystemExit("It did not come to pass.")
            time.sleep(0.01)
        self.waited += film * (time.monotonic() - began)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began


def stands(page: Any, scene: int) -> bool:
    """Whether a scene has been there for `SURE` seconds."""
    now = time.monotonic()
    if page.evaluate(SCENE) != scene:
        page.since = None
    elif getattr(page, "since", None) is None:
        page.since = now
    return page.since is not None and now - page.since >= SURE


def one_round(more: tuple[str, ...], picture: Path | None) -> dict[str, float]:
    from pages import browser
    from test_page import add, best

    with tempfile.TemporaryDirectory() as work, browser(Path(work), width=1400, film_of=film) as page:
        clock = Clock(time.monotonic())
        with teaching(Path(work), more) as running:
            url, token = address_of(running)
            ready = clock.seconds
            page.goto(f"{url}#token={token}")
            page.wait_for_selector("#view video")
            opened = clock.seconds
            add(page, *CLASSES)
            names = list(CLASSES)
            for key, _ in enumerate(names):
                clock.until(lambda key=key: page.evaluate(SCENE) == key, film=True)
                page.keyboard.down(str(key + 1))
                count = lambda k=key: int(page.inner_text(f"#classes li:nth-child({k + 1}) small").split()[0])  # noqa: E731
                clock.until(lambda count=count: count() >= PICTURES)
                page.keyboard.up(str(key + 1))
            taught = clock.seconds
            clock.until(lambda: page.evaluate(SCENE) == 2, film=True)
            clock.until(lambda: stands(page, 2) and best(page) == names[0])
            right = clock.seconds
            if picture is not None:
                page.screenshot(path=picture)
            counts = [int(page.inner_text(f"#classes li:nth-child({k + 1}) small").split()[0]) for k in range(2)]
            page.close()
            accuracy = asked(url, token)
    return {"ready": ready, "opened": opened, "taught": taught, "first_right": right,
            "waited_for_the_film": clock.waited, "accuracy": accuracy, "pictures": max(counts)}  # fmt: skip


def asked(url: str, token: str) -> float:
    """Share of right answers for pictures that were never shown; an unsure one is wrong."""
    right = 0
    with Client(url.rstrip("/"), token=token) as client:
        for name, unit in CLASSES.items():
            for x in pictures(unit, True, LATER + ASKED)[LATER:]:
                light = np.zeros((HEIGHT, WIDTH), np.uint8)
                light[:, (WIDTH - HEIGHT) // 2 : (WIDTH + HEIGHT) // 2] = letterbox(x, (HEIGHT, HEIGHT))[0]
                file = io.BytesIO()
                Image.fromarray(light).save(file, "PNG")
                body = client.request("POST", "/v1/predict", file.getvalue(), "image/png", keep=0)[:2]
                right += client.answer(*body)["labels"] == [name]
    return right / (ASKED * len(CLASSES))


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--picture", metavar="FILE.png", help="the page at the first right prediction, of the backbone")
    options = parser.parse_args()
    rows = []
    with Neighbours() as others:
        found: dict[str, list[dict[str, float]]] = {case: [] for case in CASES}
        for turn in range(1 if options.quick else options.rounds):
            for case, more in CASES.items():
                shot = Path(options.picture).absolute() if options.picture and turn == 0 and not more else None
                found[case].append(one_round(more, shot))
                print(case, {k: round(v, 2) for k, v in found[case][-1].items()}, flush=True)
    for case, rounds in found.items():
        middle = {f"{k}_seconds" if k not in ("accuracy", "pictures") else k: median([r[k] for r in rounds])
                  for k in rounds[0]}  # fmt: skip
        middle["slowest_first_right_seconds"] = max(r["first_right"] for r in rounds)
        rows.append({"who": "edgecl teach", "case": case, "steps": len(STEPS), "what_steps": list(STEPS), **middle,
                     "n": len(rounds), "others_share": round(others.share, 3)})  # fmt: skip
    table(rows, ("case", "steps", "ready_seconds", "first_right_seconds", "waited_for_the_film_seconds", "accuracy"))
    write("teach_page", rows, options.json, ("playwright",), ("who", "case"))


if __name__ == "__main__":
    main()
