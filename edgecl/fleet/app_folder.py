"""The folder that `edgecl fleet new` writes: a Flower app to run, and the fleet's first model."""

from __future__ import annotations

from pathlib import Path

from ..errors import BadInput

PYPROJECT = """[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "edgecl-fleet"
version = "1.0.0"
description = "Devices that run edgecl learn one model together"
license = {{ text = "Apache-2.0" }}
dependencies = ["edgecl[fleet]"]

[tool.hatch.build.targets.wheel]
packages = ["edgecl_app"]

[tool.flwr.app]
publisher = "edgecl"

[tool.flwr.app.components]
serverapp = "edgecl_app.server:app"
clientapp = "edgecl_app.client:app"

[tool.flwr.app.config]
state = {state}
rounds = 3
steps = 20
wanted = 2
deadline = 300.0
"""
CLIENT = '"""What a SuperNode runs."""\n\nfrom edgecl.fleet.flower import client_app\n\napp = client_app()\n'
SERVER = '"""What the SuperLink runs."""\n\nfrom edgecl.fleet.flower import server_app\n\napp = server_app()\n'
README = """# A fleet of devices that run edgecl

    flwr run . NAME --stream       # NAME: a SuperLink of ~/.flwr/config.toml
    flwr run . NAME --run-config "rounds=20 steps=50 wanted=10 deadline=600.0"

The model and what happened in each round lie in `{state}` on the SuperLink's machine. Walk-through: docs/fleet.md.
"""


def check_empty(folder: Path) -> None:
    """Raises `BadInput` where something lies there."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(f"'{folder}' is not empty.", "Name a new folder.")


def write_app(folder: Path, state: Path) -> list[Path]:
    """The app's files. ``state``: where its server keeps the fleet."""
    quoted = '"' + str(state).replace("\\", "\\\\").replace('"', '\\"') + '"'
    texts = {
        "pyproject.toml": PYPROJECT.format(state=quoted), "README.md": README.format(state=state),
        "edgecl_app/__init__.py": '"""A fleet of devices that run edgecl."""\n', "edgecl_app/client.py": CLIENT,
        "edgecl_app/server.py": SERVER,
    }  # fmt: skip
    (folder / "edgecl_app").mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts]
