"""Flower's processes on this machine: a SuperLink, SuperNodes, `flwr run`; each ended by its own id."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil

PYTHON = os.environ.get("EDGECL_FLOWER", sys.executable)


def there() -> bool:
    return subprocess.run([PYTHON, "-P", "-c", "import flwr, edgecl"], capture_output=True, cwd="/").returncode == 0


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Flowers:
    """``folder``: of logs and Flower's own files;  app: that `edgecl fleet new` wrote"""

    def __init__(self, folder: Path, app: Path) -> None:
        self.folder, self.app, self.port = folder, app, free_port()
        self.processes: dict[str, subprocess.Popen] = {}
        home = folder / "flwr"
        home.mkdir()
        (home / "config.toml").write_text(
            f'[superlink]\ndefault = "here"\n\n[superlink.here]\naddress = "127.0.0.1:{self.port}"\ninsecure = true\n'
        )
        tools = f"{Path(PYTHON).parent}:{os.environ['PATH']}"
        self.environment = {**os.environ, "FLWR_HOME": str(home), "FLWR_TELEMETRY_ENABLED": "0", "PATH": tools,
                            "PIP_NO_INDEX": "1", "UV_OFFLINE": "1", "no_proxy": "*"}  # fmt: skip
        self.environment.pop("PYTHONPATH", None)

    def start(self, name: str, *command: str) -> None:
        log = open(self.folder / f"{name}.log", "ab")  # noqa: SIM115
        program = str(Path(PYTHON).parent / command[0])
        self.processes[name] = subprocess.Popen(
            [program, *command[1:]], stdout=log, stderr=log, env=self.environment, cwd=self.folder,
            start_new_session=True,
        )  # fmt: skip

    def superlink(self) -> None:
        self.start("superlink", "flower-superlink", "--insecure", "--disable-runtime-dependency-installation",
                   "--port", str(self.port))  # fmt: skip
        limit = time.monotonic() + 60
        while True:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert time.monotonic() < limit, self.log("superlink")
            time.sleep(0.2)

    def supernode(self, name: str, address: str) -> None:
        self.start(name, "flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{self.port}",
                   "--port", str(free_port()), "--node-config", f'edgecl-address="{address}"')  # fmt: skip

    def run(self, **config) -> subprocess.Popen:
        given = " ".join(f"{k}={json.dumps(v)}" for k, v in config.items())
        self.start("run", "flwr", "run", str(self.app), "here", "--stream", "--run-config", given)
        return self.processes["run"]

    def rounds(self) -> list[dict]:
        path = self.app / "state" / "rounds.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")[-4000:]

    def family(self, name: str) -> list[psutil.Process]:
        """A process of ours and what it started."""
        try:
            own = psutil.Process(self.processes[name].pid)
            return [own, *own.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def kill(self, name: str) -> None:
        for process in self.family(name):
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        self.processes.pop(name).wait(10)

    def end(self) -> None:
        for name in list(self.processes):
            self.kill(name)
