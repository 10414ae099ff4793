"""`edgecl teach`: a service on this machine and the address of its page, in one command."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from ..errors import BadInput, require
from ..storage.whole import make_folder, write_whole

HELP = """Teach by showing: start a service here and open its page in the browser.

Name a class, hold its button while the camera (or a picture dropped on the page) shows it, and watch it learn. What was
taught stays in --state; give the folder again and it goes on. Ctrl-C saves and ends.

It teaches EfficientNet-Lite0, pretrained, where its weights are here (edgecl models get efficientnet_lite0: 17 MB),
else a small network from nothing, and says which.

Examples:

  edgecl teach

  edgecl teach --lan            (a phone in the same network; TLS with a certificate of our own)

  edgecl teach --camera 0       (this machine's own camera, beside the browser's)

  edgecl teach --sound --state sounds"""

PATIENCE = 120.0  # seconds until it must answer


def command(
    state: str = typer.Option("edgecl-teach", "--state", metavar="DIR", help="folder of what is taught"),
    port: int = typer.Option(8470, "--port", help="of the page"),
    lan: bool = typer.Option(False, "--lan", help="also for others in the network, with TLS"),
    camera: str = typer.Option(
        None, "--camera", metavar="DEVICE", help="show this too: 0, /dev/video0, pi, or a folder of pictures"
    ),
    sound: bool = typer.Option(False, "--sound", help="teach sounds of a second, from a microphone, not pictures"),
    backbone: str = typer.Option(
        None, "--backbone", metavar="NAME|none", help="pretrained; default: efficientnet_lite0 where its weights are"
    ),
    size: int = typer.Option(None, "--size", metavar="PIXELS", help="of pictures, square; default: 96, or 32"),
    network: str = typer.Option(None, "--network", help="that learns from nothing; default: cnn"),
    browser: bool = typer.Option(True, "--browser/--no-browser", help="open the page"),
) -> int:
    for package in ("uvicorn", "starlette", "prometheus_client", "PIL.Image"):
        require(package, "teach")
    if not 0 < port < 65536:
        raise BadInput(f"--port is {port}.", "Use a port from 1 to 65535.")
    from ..service.config import read_config
    from ..service.daemon import Daemon
    from ..service.logs import begin_logging
    from .teach_what import Asked, check, settings

    folder = Path(os.path.abspath(state))
    asked = Asked(sound, backbone, size, network)
    check(asked)
    make_folder(folder)
    told, path = settings(folder, asked)
    token = secrets.token_urlsafe(24)
    write_whole(folder / "tokens", f"admin page {hashlib.sha256(token.encode()).hexdigest()}\n".encode())
    host = own_address() if lan else "127.0.0.1"
    over = places(folder, port, host, lan)
    config = read_config(path, over)
    address = f"{'https' if lan else 'http'}://{host}:{port}/#token={token}"
    begin_logging("text", "warning")
    print(told, flush=True)
    feeders: list[subprocess.Popen[bytes]] = []

    def ready() -> None:
        print(f"The page: {address}", flush=True)
        if lan:
            _show_code(address)
        if camera is not None:
            feeders.append(subprocess.Popen(feeder(folder, camera)))
        if browser and not webbrowser.open(address):
            print("Open it in a browser. Ctrl-C saves and ends.", flush=True)

    threading.Thread(target=_when_ready, args=(folder, ready), daemon=True).start()
    try:
        return Daemon(config, lambda: read_config(path, over)).run()
    finally:
        for process in feeders:
            process.terminate()
            process.wait()


def places(folder: Path, port: int, host: str, lan: bool) -> dict[str, Any]:
    """Where the service keeps and serves what, by ``section.name``."""
    found: dict[str, Any] = {
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


def feeder(folder: Path, camera: str) -> list[str]:
    """The command that shows a camera, or a folder played as one."""
    source = ["--play", os.path.abspath(camera)] if os.path.isdir(camera) else [camera]
    where = ["--address", f"unix:{folder}/run/api.sock", "--give-up", "5"]
    return [sys.executable, "-P", "-m", "edgecl", "feed", "camera", *source, *where]


def _when_ready(folder: Path, then: Callable[[], None]) -> None:
    """``then()``, once the page answers."""
    limit = time.monotonic() + PATIENCE
    while not answers(folder / "run" / "api.sock"):
        if time.monotonic() > limit:
            return
        time.sleep(0.05)
    then()


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
        print("For a code to scan: pip install 'edgecl[teach]'", file=sys.stderr)
        return
    segno.make(address).terminal(compact=True)
