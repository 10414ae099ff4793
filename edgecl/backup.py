"""Backups: a learner's saved states, settings and store in one file, to be restored there or on another machine.

A plain tar archive (ustar, regular files only): ``saved/`` and ``store/`` as they lie on flash, then ``manifest.json``
with the size and sha256 of each, so that a file that was cut off is none. Records and states of an encrypted learner
stay encrypted; its root key is not in the backup. A subject that is forgotten later stays in backups in the clear.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from . import __version__
from .errors import BadInput, EdgeclError
from .saves import place_store, saved_learner
from .storage.bounded import parse_json
from .storage.files import Lock
from .storage.replacing import FOLDER as RETRAINED
from .storage.whole import SUFFIX, create, make_folder, sync_directory, temporary

FORMAT = 1
_MANIFEST = "manifest.json"
_MOST_FILES, _MOST_MANIFEST, _PIECE = 1_000_000, 256 << 20, 1 << 20


def backup(file: str | Path, saved: str | Path, store: str | Path | None = None) -> dict[str, Any]:
    """Write the learner saved in ``saved``, which nobody has open, with its store to a new ``file``.

    store : where its store lies now, by default where it was. Returns {"file", "files", "bytes"}. Raises `BadInput` for
    what is no saved learner, `StoreLocked` while a learner is open, `EdgeclError` when it cannot be written.
    """
    about = saved_learner(saved)["learner"]
    place = store or about["config"]["store"]
    if place is None:
        return archive(Path(file), Path(saved), None)
    folder = Path(place)
    if not (folder / "store.json").is_file():
        raise BadInput(f"The store of this learner is not in '{folder}'.", "Give its folder as --store.")
    lock = Lock(folder)
    try:
        return archive(Path(file), Path(saved), folder)
    finally:
        lock.release()


def archive(file: Path, saved: Path, store: Path | None) -> dict[str, Any]:
    """Write folders that nobody changes meanwhile to ``file``, its owner's alone; whole, or not there."""
    if file.exists():
        raise BadInput(f"'{file}' is there already.", "Choose a new name.")
    if store is not None and (store / RETRAINED).exists():
        raise BadInput("A learner that was trained anew was not taken over yet.", "Open it once, and save it.")
    files: dict[str, dict[str, Any]] = {}
    with _typed(f"The backup '{file}' cannot be written"):
        with temporary(file) as (fd, name):
            plain = tarfile.USTAR_FORMAT
            with os.fdopen(os.dup(fd), "wb") as out, tarfile.open(fileobj=out, mode="w", format=plain) as tar:
                for path, inside in _members(saved, store):
                    files[inside] = _add(tar, path, inside)
                about = {"format": FORMAT, "edgecl": __version__, "time": time.time(), "files": files}
                text = json.dumps(about).encode()
                info = tarfile.TarInfo(_MANIFEST)
                info.size, info.mode = len(text), 0o600
                tar.addfile(info, io.BytesIO(text))
            os.fsync(fd)
            os.replace(name, file)
        sync_directory(file.parent)
    return {"file": str(file), "files": len(files), "bytes": sum(f["size"] for f in files.values())}


def _members(saved: Path, store: Path | None) -> Iterator[tuple[Path, str]]:
    """(file, its name in the archive) of what a learner is."""
    for path in sorted(saved.iterdir()):
        if path.suffix in (".safetensors", ".json") and path.is_file() and path.name != "place.json":
            yield path, f"saved/{path.name}"
    if store is None:
        return
    for path in sorted(store.rglob("*")):
        ours = path.name not in (Lock.NAME, "lock.mdb") and path.suffix != SUFFIX
        if ours and path.is_file() and not path.is_symlink():
            yield path, f"store/{path.relative_to(store).as_posix()}"


def _add(tar: tarfile.TarFile, path: Path, inside: str) -> dict[str, Any]:
    info = tarfile.TarInfo(inside)
    with open(path, "rb") as source:
        info.size, info.mode = os.fstat(source.fileno()).st_size, 0o600
        hashed = _Hashed(source)
        tar.addfile(info, hashed)  # type: ignore[arg-type]
    return {"size": info.size, "sha256": hashed.sha.hexdigest()}


class _Hashed:
    """A source that is hashed as it is read."""

    def __init__(self, source: Any) -> None:
        self._source, self.sha = source, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        block: bytes = self._source.read(size)
        self.sha.update(block)
        return block


class _Plain(tarfile.TarInfo):
    """Members that are regular files and nothing else: no links, devices or headers of a size that the file names."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or self.size < 0:
            raise tarfile.ReadError(f"'{self.name}' is no regular file")
        return super()._proc_member(tar)  # type: ignore[misc,no-any-return]


def restore(file: str | Path, to: str | Path) -> dict[str, Any]:
    """Bring a learner back from ``file`` into the new folder ``to``: ``to/saved``, which `Learner.open` takes, and
    ``to/store``. Everything is checked before ``to`` is there. Returns {"saved", "store", "files"}.

    Raises `BadInput` for a folder that holds something, `EdgeclError` for a file that is no whole backup.
    """
    file, to = Path(file), Path(os.path.abspath(to))
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise BadInput(f"'{to}' is there already.", "Restore to a new folder.")
    building = to.with_name(f".{to.name}.restored{SUFFIX}")
    with _typed(f"The backup '{file}' cannot be restored to '{to}'"):
        shutil.rmtree(building, ignore_errors=True)
        try:
            make_folder(building)
            found = _extract(file, building)
            if (building / "store").is_dir():
                place_store(building / "saved", "../store")
            for folder in (p for p in building.rglob("*") if p.is_dir()):
                sync_directory(folder)
            with suppress(FileNotFoundError):
                os.rmdir(to)
            os.rename(building, to)
            sync_directory(to.parent)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
    store = str(to / "store") if (to / "store").is_dir() else None
    return {"saved": str(to / "saved"), "store": store, "files": found}


def _extract(file: Path, to: Path) -> int:
    """Write the files of an archive below ``to``; how many."""
    size = file.stat().st_size
    free = os.statvfs(to)
    if not file.is_file() or size > free.f_bavail * free.f_frsize:
        raise EdgeclError(f"'{file}' has {size} bytes, and there is no room for them.", "Make room, or choose another.")
    found: dict[str, dict[str, Any]] = {}
    manifest: Any = None
    try:
        with tarfile.open(file, "r:", tarinfo=_Plain) as tar:
            while (info := tar.next()) is not None:
                if len(found) >= _MOST_FILES or info.size > size or manifest is not None:
                    _refuse(file, "it holds more than a backup does")
                source = tar.extractfile(info)
                assert source is not None
                if info.name == _MANIFEST and info.size <= _MOST_MANIFEST:
                    manifest = parse_json(source.read())
                    continue
                if info.name in found:
                    _refuse(file, f"'{info.name}' stands in it twice")
                found[info.name] = _write(source, _inside(file, to, info.name))
                tar.members.clear()  # type: ignore[attr-defined]
    except (tarfile.TarError, ValueError, EOFError, UnicodeError, OverflowError) as error:
        _refuse(file, str(error))
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT or manifest.get("files") != found:
        _refuse(file, "it was cut off or changed")
    return len(found)


def _inside(file: Path, to: Path, name: str) -> Path:
    """Where a member goes, which is below ``to``."""
    parts = PurePosixPath(name).parts
    plain = all(p not in ("", ".", "..") and "/" not in p and "\0" not in p for p in parts)
    if not plain or len(parts) < 2 or len(parts) > 4 or parts[0] not in ("saved", "store"):
        _refuse(file, f"'{name}' is no file of a learner")
    path = to.joinpath(*parts)
    for folder in reversed(path.relative_to(to).parents[:-1]):
        make_folder(to / folder)
    return path


def _write(source: Any, path: Path) -> dict[str, Any]:
    sha, size, fd = hashlib.sha256(), 0, create(path)
    try:
        while block := source.read(_PIECE):
            sha.update(block)
            size += len(block)
            view = memoryview(block)
            while view:
                view = view[os.write(fd, view) :]
        os.fsync(fd)
    finally:
        os.close(fd)
    return {"size": size, "sha256": sha.hexdigest()}


def _refuse(file: Path, why: str) -> NoReturn:
    raise EdgeclError(f"'{file}' is no whole backup: {why}.", "Use another copy.")


@contextmanager
def _typed(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EdgeclError(f"{what}: {error.strerror or error}.", "Check the place and its free space.") from error
