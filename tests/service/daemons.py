"""Real daemons in processes of their own, and samples small enough for seconds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgecl.service import Client

SHAPE = (1, 12, 12)
LEARNER = 'input_shape = [1, 12, 12]\nnetwork = "mlp"\nbatch = 8\nmemory = 40\nclasses = 4\n'


def samples(count: int, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """Pictures of 4 kinds that a small network tells apart, and their labels."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % 4
    x = rng.integers(0, 60, (count, *SHAPE))
    for i, k in enumerate(y):
        x[i, 0, 3 * k : 3 * k + 3] += 180
    return x.astype(np.uint8), [f"kind {k}" for k in y]


class Daemon:
    """`edgecl serve` in a folder; ``start`` again for another life of the same state."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.process = folder, None
        self.sections = {"learner": LEARNER, "learn": 'when = "manual"\n', "serve": "", "holdout": "", "pool": ""}
        self.environment: dict[str, str] = {}
        self.arguments: list[str] = []
        self.prefix: list[str] = []

    def write(self) -> Path:
        path = self.folder / "edgecl.toml"
        path.write_text("\n".join(f"[{name}]\n{text}" for name, text in self.sections.items()))
        return path

    def launch(self) -> None:
        """Begin a life, without waiting for it."""
        config = self.write()
        places = ["--state", str(self.folder / "state"), "--run", str(self.folder / "run")]
        serve = [sys.executable, "-P", "-m", "edgecl", "serve", "--config", str(config), *places, "--log", "text"]
        command = [*self.prefix, *serve, *self.arguments]
        self.log = self.folder / "log"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                command, stderr=log, stdin=subprocess.DEVNULL, env={**os.environ, **self.environment}, cwd=self.folder
            )

    def start(self, ready: bool = True) -> Daemon:
        self.launch()
        if ready:
            limit = time.monotonic() + 60
            while True:
                assert self.process.poll() is None, self.text
                try:
                    with self.client() as client:
                        client.ask("GET", "/livez")
                    return self
                except Exception:
                    assert time.monotonic() < limit, self.text
                    time.sleep(0.02)
        return self

    @property
    def text(self) -> str:
        return self.log.read_text()

    def client(self, admin: bool = True, **more) -> Client:
        return Client(f"unix:{self.folder}/run/{'admin' if admin else 'api'}.sock", **more)

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for ``condition()``."""
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it did not come to pass"
        time.sleep(0.01)
