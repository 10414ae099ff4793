"""A build backend for the plugin projects of the tests: pip installs them without any package to build with."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

import tomllib


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    """Every module of the folder, with the entry points that its pyproject.toml names."""
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    label = f"{project['name'].replace('-', '_')}-{project['version']}"
    about = f"{label}.dist-info"
    points = [
        line
        for group, entries in project.get("entry-points", {}).items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in entries.items()), "")
    ]
    files = {p.name: p.read_bytes() for p in Path().glob("*.py") if p.name != "wheel_backend.py"}
    said = ["Metadata-Version: 2.1", f"Name: {project['name']}", f"Version: {project['version']}", ""]
    files[f"{about}/METADATA"] = "\n".join(said).encode()
    files[f"{about}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{about}/entry_points.txt"] = "\n".join(points).encode()
    record = [f"{name},{_digest(data)},{len(data)}" for name, data in files.items()]
    files[f"{about}/RECORD"] = "\n".join([*record, f"{about}/RECORD,,", ""]).encode()
    name = f"{label}-py3-none-any.whl"
    with zipfile.ZipFile(Path(wheel_directory) / name, "w") as wheel:
        for path, data in files.items():
            wheel.writestr(path, data)
    return name


def _digest(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
