"""`edgecl teach`: a service on this machine and the address of its page, in one command."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import socket
import sys
import threading
import time
import webbrowser
from pathlib import Path
from typing import Any

import typer

from ..errors import BadInput, require
from ..storage.whole import make_folder, write_whole

HELP = """Teach by showing: start a service here and open its page in the browser.

Name a class, hold its button while the camera (or a picture dropped on the page) shows it, and watch it learn. What was
taught stays in --state; give the folder again and it goes on. Ctrl-C saves and ends.

Examples:

  edgecl teach

  edgecl teach --lan            (a phone in the same network; TLS with a certificate of our own)

  edgecl teach --state desk --size 64"""

PATIENCE = 120.0  # seconds until it must answer


def command(
    state: str = typer.Option("edgecl-teach", "--state", metavar="DIR", help="folder of what is taught"),
    port: int = typer.Option(8470, "--port", help="of the page"),
    lan: bool = typer.Option(False, "--lan", help="also for others in the network, with TLS"),
    size: int = typer.Option(32, "--size", metavar="PIXELS", help="pictures are scaled to so many, square"),
    network: str = typer.Option("cnn", "--network", help="that learns"),
    browser: bool = typer.Option(True, "--browser/--no-browser", help="open the page"),
) -> int:
    for package in ("uvicorn", "starlette", "prometheus_client"):
        require(package, "service")
    require("PIL.Image", "codecs")
    if not 8 <= size <= 224 or not 0 < port < 65536:
        raise BadInput(f"--size is {size}, --port {port}.", "Use 8 to 224 pixels, and a port from 1 to 65535.")
    from ..service.config import read_config
    from ..service.daemon import Daemon
    from ..service.logs import begin_logging

    folder = Path(os.path.abspath(state))
    make_folder(folder)
    token = secrets.token_urlsafe(24)
    write_whole(folder / "tokens", f"admin page {hashlib.sha256(token.encode()).hexdigest()}\n".encode())
    host = own_address() if lan else "127.0.0.1"
    over = settings(folder, port, host, lan, size, network)
    config = read_config(None, over)
    address = f"{'https' if lan else 'http'}://{host}:{port}/#token={token}"
    begin_logging("text", "warning")
    threading.Thread(target=_when_ready, args=(folder, address, lan, browser), daemon=True).start()
    return Daemon(config, lambda: read_config(None, over)).run()


def settings(folder: Path, port: int, host: str, lan: bool, size: int, network: str) -> dict[str, Any]:
    """Options of the service, by ``section.name``."""
    found: dict[str, Any] = {
        "learner.input_shape": [3, size, size], "learner.network": network, "learner.batch": 16, "learner.memory": 500,
        "learn.when": "samples:2", "learn.slice": "1s", "learn.checkpoint_every": "60s", "learn.end_task": "never",
        "serve.state": str(folder / "state"), "serve.run": str(folder / "run"), "serve.tokens": str(folder / "tokens"),
        "serve.listen": f"{'0.0.0.0' if lan else host}:{port}", "serve.tls": lan, "serve.unsure_below": 0.6,
    }  # fmt: skip
    if lan:
        found["serve.hosts"] = [host, socket.gethostname().lower(), f"{socket.gethostname().lower()}.local"]
    return found


def own_address() -> str:
    """Of this machine in its network; no packet is sent. Raises `BadInput` without a network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError as error:
            raise BadInput(f"This machine is in no network: {error.strerror}.", "Leave out --lan.") from error


def _when_ready(folder: Path, address: str, lan: bool, browser: bool) -> None:
    """Say where the page is once it answers."""
    limit = time.monotonic() + PATIENCE
    while not answers(folder / "run" / "api.sock"):
        if time.monotonic() > limit:
            return
        time.sleep(0.05)
    print(f"The page: {address}", flush=True)
    if lan:
        _show_code(address)
    if browser and not webbrowser.open(address):
        print("Open it in a browser. Ctrl-C saves and ends.", flush=True)


def answers(path: Path) -> bool:
    """Whether a daemon listens at a socket and is ready."""
    from ..errors import EdgeclError
    from ..service.client import Client

    try:
        with Client(f"unix:{path}", timeout=2) as client:
            return bool(json.loads(client.request("GET", "/readyz")[1]).get("ready"))
    except (EdgeclError, OSError, ValueError):
        return False


def _show_code(address: str) -> None:
    """The address for a phone's camera, where segno is there."""
    try:
        import segno
    except ImportError:
        print("For a code to scan: pip install segno", file=sys.stderr)
        return
    segno.make(address).terminal(compact=True)
