"""Exports: the model as one file, the samples as one archive, made beside what trains and streamed from there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from ..child import python_command
from ..errors import EdgeclError
from ..network import Network
from .config import ServiceConfig


def fresh_folder(config: ServiceConfig) -> Path:
    """The folder of exports under way; what an earlier life left there is gone."""
    folder = config.state / "exports"
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def _file(config: ServiceConfig, suffix: str) -> Path:
    folder = config.state / "exports"
    folder.mkdir(mode=0o700, exist_ok=True)
    fd, name = tempfile.mkstemp(suffix, dir=folder)
    os.close(fd)
    return Path(name)


def model_file(config: ServiceConfig, network: Network) -> Path:
    """A file of our own with the model, to be streamed and removed."""
    path = _file(config, ".edgecl")
    try:
        return network.save(path)
    except BaseException:
        path.unlink()
        raise


def samples_file(config: ServiceConfig) -> Path:
    """A tar of our own with the store's samples (safetensors files), to be streamed and removed.

    A process of its own reads the store: nothing that trains waits for it. Raises `EdgeclError`.
    """
    path = _file(config, ".tar")
    job = [str(config.state / "store"), str(path), config.serve.root_key or ""]
    done = subprocess.run(
        python_command("edgecl.service.exporting", *job), stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        path.unlink()
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise EdgeclError(f"The samples were not exported: {last}.", "See that the disk has room for them.")
    return path


def main() -> int:
    """argv: store, tar, file of the root key or nothing."""
    from ..learning.root_key import root_key
    from ..storage import SampleStore, export_store

    store, to, key = sys.argv[1:4]
    place = Path(to).with_suffix(".samples")
    try:
        with SampleStore(store, read_only=True, root_key=root_key(key or None, store)) as reading:
            export_store(reading, place)
        with tarfile.open(to, "w") as archive:
            archive.add(place, "samples")
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return 0
