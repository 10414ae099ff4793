"""A real browser at the page of a real daemon: Chromium, whose camera plays a file of three scenes."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from chrome import chromium, needed
from daemons import Daemon

TOKEN, NAME = "a-token-of-the-tests", "edge.test"  # resolved to loopback by the browser's own rule
LEARNER = 'input_shape = [3, 16, 16]\nnetwork = "mlp"\nbatch = 8\nmemory = 60\n'
SCENES = {"red": (76, 85, 255), "green": (150, 44, 21), "blue": (29, 255, 107)}  # Y, U, V
WIDTH, HEIGHT, FRAMES = 160, 120, 20  # of a scene, 10 a second


def film(path: Path) -> Path:
    """Three scenes one after the other, again and again, as the browser's camera plays them (Y4M, 4:2:0)."""
    rng = np.random.default_rng(0)
    with open(path, "wb") as file:
        file.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F10:1 Ip A1:1 C420jpeg\n".encode())
        for y, u, v in SCENES.values():
            for _ in range(FRAMES):
                light = np.clip(y + rng.integers(-8, 9, (HEIGHT, WIDTH)), 0, 255).astype(np.uint8)
                small = np.ones((HEIGHT // 2, WIDTH // 2), np.uint8)
                file.write(b"FRAME\n" + light.tobytes() + (small * u).tobytes() + (small * v).tobytes())
    return path


def free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


def teachable(
    folder: Path, tls: bool = True, learner: str = LEARNER, name: str | None = None
) -> tuple[Daemon, str]:
    """A daemon on a port, and the address of its page under ``name``; default: with TLS under `NAME`."""
    port, daemon = free_port(), Daemon(folder)
    tokens = folder / "tokens"
    tokens.write_text(f"admin tests {hashlib.sha256(TOKEN.encode()).hexdigest()}\n")
    tokens.chmod(0o600)
    daemon.sections["learner"] = learner
    daemon.sections["learn"] = 'when = "samples:2"\nslice = "1s"\nend_task = "never"\n'
    daemon.sections["serve"] = (
        f'listen = "127.0.0.1:{port}"\ntls = {str(tls).lower()}\nhosts = ["{NAME}"]\ntokens = "{tokens}"\n'
        "unsure_below = 0.5\n"
    )
    daemon.start()
    return daemon, f"{'https' if tls else 'http'}://{name or (NAME if tls else '127.0.0.1')}:{port}/#token={TOKEN}"


@contextmanager
def browser(
    folder: Path, width: int = 1280, dark: bool = False, flags: tuple[str, ...] = (),
    film_of: Callable[[Path], Path] = film, **more,
) -> Iterator[object]:  # fmt: skip
    """A page of Chromium, without one yet in it; what it says on its console fails the test."""
    playwright = needed("playwright.sync_api")
    given = [
        "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={film_of(folder / 'film.y4m')}",
        f"--host-resolver-rules=MAP {NAME} 127.0.0.1", *flags,
    ]  # fmt: skip
    with playwright.sync_playwright() as p:
        started = p.chromium.launch(executable_path=chromium(), args=given, headless=True)
        context = started.new_context(
            ignore_https_errors=True, viewport={"width": width, "height": 900}, permissions=["camera", "microphone"],
            color_scheme="dark" if dark else "light", accept_downloads=True, **more,
        )  # fmt: skip
        page = context.new_page()
        page.said = []
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.on("console", lambda m: page.said.append(m.text) if m.type == "error" else None)
        try:
            yield page
        finally:
            started.close()
