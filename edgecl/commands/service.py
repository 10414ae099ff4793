"""`edgecl service`: the systemd unit of `edgecl serve`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import typer

from ..errors import require

app = typer.Typer(help="Install `edgecl serve` as a hardened systemd service.", no_args_is_help=True)
ROOT = typer.Option("/", "--root", metavar="DIR", help="root of the file system to write below")


@app.command("install", help="Write unit, sockets, groups and an example configuration. --dry-run prints them.")
def install(
    config: str = typer.Option("/etc/edgecl/edgecl.toml", "--config", metavar="FILE", help="what the daemon reads"),
    allow: str = typer.Option(None, "--allow", metavar="ADDRESS", help="who may reach serve.listen: 192.168.0.0/16"),
    tokens: str = typer.Option(None, "--tokens", metavar="FILE", help="handed over as a credential"),
    root_key: str = typer.Option(None, "--root-key", metavar="FILE", help="handed over as a credential"),
    command: str = typer.Option(None, "--command", metavar="PATH", help="the edgecl to run; default: this one"),
    dry_run: bool = typer.Option(False, "--dry-run", help="print, write nothing"),
    root: str = ROOT,
) -> int:
    require("uvicorn", "service")
    from ..service import unit
    from ..service.check import checked
    from ..service.config import read_config

    place = Path(root) / config.lstrip("/") if root != "/" else Path(config)
    limits, plan = unit.planned(checked(read_config(place, {}))) if place.exists() else (None, ())
    credentials = {name: file for name, file in (("tokens", tokens), ("root-key", root_key)) if file is not None}
    made = unit.Unit(command or unit.own_command(), config, allow, credentials, limits, plan)
    if dry_run:
        for name, text in unit.files(made).items():
            print(f"# /{name}\n{text}")
        return 0
    for name in unit.install(Path(root), made):
        print(name)
    if limits is None:
        print(f"{config} is an example: edit it, and install again so that the unit gets its memory limits.")
    print("then: systemd-sysusers && systemctl daemon-reload")
    print("      systemctl enable --now edgecl.socket edgecl-admin.socket edgecl.service")
    return 0


@app.command("remove", help="Take the unit's files away. Configuration and state stay.")
def remove(root: str = ROOT) -> int:
    from ..service import unit

    for name in unit.remove(Path(root)):
        print(name)
    print("then: systemctl daemon-reload. /etc/edgecl and /var/lib/edgecl are yours to remove.")
    return 0


@app.command("status", help="What is installed, and what systemd says of it.")
def status(root: str = ROOT, as_json: bool = typer.Option(False, "--json", help="print JSON")) -> int:
    from ..service import unit

    there = {f"/{name}": (Path(root) / name).exists() for name in unit.files(unit.Unit("edgecl"))}
    try:
        shown = subprocess.run(["systemctl", "is-active", "edgecl.service"], capture_output=True, text=True)
        active = shown.stdout.strip() or "unknown"
    except OSError:
        active = "no systemd here"
    if as_json:
        print(json.dumps({"files": there, "active": active}, indent=1))
    else:
        for name, exists in there.items():
            print(f"{name}: {'there' if exists else 'missing'}")
        print(f"edgecl.service: {active}")
    return 0 if all(there.values()) else 1
