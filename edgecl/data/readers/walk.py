"""Folders as people keep them: classes, parts, domains and groups are read from their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import BadInput
from ..gate import Gate
from ..naming import is_system_file, is_system_folder, natural_key, spelled, split_of, subject_in

PICTURES = {
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".webp", ".pgm", ".ppm", ".pbm", ".pnm", ".tif",
    ".tiff", ".tga", ".ico", ".jp2", ".avif", ".heic", ".heif", ".hif", ".mpo", ".apng", ".pcx", ".sgi",
}  # fmt: skip
UNREADABLE = {
    ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".psd", ".xcf", ".svg", ".jxl", ".exr", ".hdr",
    ".mp4", ".mov", ".avi", ".mkv", ".webm", ".mp3", ".m4a", ".aac", ".wma", ".amr", ".mat", ".h5", ".hdf5", ".xlsx",
    ".xls", ".pkl", ".pickle", ".pt", ".dcm",
}  # fmt: skip
KINDS = {
    **dict.fromkeys(PICTURES, "pictures"),
    ".npy": "arrays",
    **dict.fromkeys((".wav", ".wave", ".flac", ".ogg", ".aif", ".aiff"), "sounds"),
    **dict.fromkeys((".csv", ".tsv", ".parquet"), "tables"),
}
_MAGIC = (
    (b"\xff\xd8\xff", "pictures"), (b"\x89PNG", "pictures"), (b"GIF8", "pictures"), (b"II*\0", "pictures"),
    (b"MM\0*", "pictures"), (b"\x93NUMPY", "arrays"), (b"fLaC", "sounds"),
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """A file that should be a sample (or several), and what its place says of it."""

    file: Path
    kind: str
    label: str
    part: str | None
    domain: str | None = None
    group: str | None = None
    subject: str | None = None


def walk(root: Path, gate: Gate, levels: str | None = None) -> list[Entry]:
    """Every sample file under ``root``, by class in natural order; what is none is counted at the gate.

    Known: CLASS/files; CLASS/GROUP/files; SPLIT/CLASS/files; CLASS/SPLIT/files; and, where ``levels`` says so or the
    names do (subject_07), SUBJECT/CLASS/files, CLASS/SUBJECT/files; DOMAIN/CLASS/files where ``levels`` says so.
    Raises BadInput where it cannot be told which of two levels is the class.
    """
    gate.forms.add("folders")
    entries: list[Entry] = []
    for part, folder in _parts(root, gate):
        form = levels or _levels(folder)
        above = form.partition("/")[0]
        tops = _folders(folder, gate)
        if above == "class":
            for label_folder in tops:
                entries += _class_entries(label_folder, part, gate, by_subject=form == "class/subject")
            continue
        gate.note(f"{len(tops)} {above}s: {', '.join(spelled(top.name) for top in tops[:6])}")
        for top in tops:
            for label_folder in _folders(top, gate):
                found = _class_entries(label_folder, part, gate)
                name = spelled(top.name)
                if above == "domain":
                    entries += [replace(entry, domain=name) for entry in found]
                else:
                    entries += [replace(entry, subject=name) for entry in found]
    if not entries:
        raise BadInput(
            f"{root} holds no class folders with pictures, sounds, tables or .npy files.",
            "Put each class's files into a folder of its name.",
        )
    _one_spelling(entries, gate)
    return sorted(entries, key=lambda e: (natural_key(e.label), natural_key(str(e.file))))


def _folders(place: Path, gate: Gate | None) -> list[Path]:
    """Folders in ``place`` that are not a system's, in natural order."""
    found = []
    for path in sorted((p for p in place.iterdir() if p.is_dir()), key=lambda p: natural_key(p.name)):
        if not is_system_folder(path):
            found.append(path)
        elif gate is not None:
            gate.leave_out("in a system folder", sum(1 for file in path.rglob("*") if file.is_file()))
    return found


def _parts(root: Path, gate: Gate) -> list[tuple[str | None, Path]]:
    """('train' | 'test' | None, folder with classes)."""
    found: dict[str, Path] = {}
    others = []
    for folder in _folders(root, None):
        part = split_of(folder.name)
        if part is not None and part not in found and _folders(folder, None) and not _files(folder):
            found[part] = folder
        else:
            others.append(folder)
    if "train" not in found or (len(found) == 1 and any(_holds_samples(folder) for folder in others)):
        alone = [*found.values(), *others]
        if len(alone) == 1 and len(_folders(alone[0], None)) > 1 and not _files(alone[0]):
            gate.note(f"classes taken from the folder '{alone[0].name}' within")
            return [(None, alone[0])]
        return [(None, root)]
    _folders(root, gate)  # for its count
    for folder in others:
        if n := sum(1 for f in folder.rglob("*") if f.is_file()):
            gate.leave_out(f"outside of {' and '.join(f.name for f in found.values())}", n)
    if "val" in found:
        if "test" in found:
            n = sum(1 for f in found.pop("val").rglob("*") if f.is_file())
            gate.leave_out("of the validation part", n)
        else:
            found["test"] = found.pop("val")
    if len(found) == 1:
        gate.note(f"classes taken from the folder '{found['train'].name}' within")
        return [(None, found["train"])]
    return [("train", found["train"]), ("test", found["test"])]


def _holds_samples(folder: Path) -> bool:
    return any(kind_of(file) is not None for file in folder.rglob("*") if file.is_file() and not is_system_file(file))


def _files(folder: Path) -> list[Path]:
    return [f for f in folder.iterdir() if f.is_file() and not is_system_file(f) and kind_of(f) is not None]


def _levels(folder: Path) -> str:
    """Which level below ``folder`` holds the classes: one of `FOLDERS`.

    Raises BadInput where the folders within come back under all of those above, and no name tells which is which.
    """
    tops = _folders(folder, None)
    inner = [{spelled(f.name).casefold() for f in _folders(top, None) if split_of(f.name) is None} for top in tops]
    if not all(inner) or not tops or any(_files(top) for top in tops):
        return "class"
    together = set().union(*inner)
    if all(subject_in(name, folder=True) for name in together):
        return "class/subject"
    if len(tops) > 1 and all(subject_in(top.name, folder=True) for top in tops):
        return "subject/class"
    recur = len(tops) > 1 and len(together) > 1 and len(together) <= 0.75 * sum(map(len, inner))
    if recur and not any(any(c.isdigit() for c in name) for name in together):
        shown = ", ".join(sorted(together)[:4])
        raise BadInput(
            f"The same folders ({shown}{', ..' if len(together) > 4 else ''}) come back in {tops[0].name}, "
            f"{tops[1].name}{' and others' if len(tops) > 2 else ''}: which are the classes?",
            "Say --folders domain/class where the inner ones are, or --folders class/group where the outer ones are.",
        )
    return "class/group"


def _class_entries(folder: Path, part: str | None, gate: Gate, by_subject: bool = False) -> list[Entry]:
    label = spelled(folder.name)
    found: list[Entry] = []
    others: Counter[str] = Counter()
    for file, group in _files_below(folder, gate):
        inner = split_of(group) if group is not None and part is None else None
        if inner == "val":
            inner = "test"
        kind = kind_of(file)
        if kind == "unreadable":
            gate.broken(file, f"no reader for {file.suffix.lower()}", label)
        elif kind is None:
            others[file.suffix.lower() or "no ending"] += 1
        else:
            group = None if inner else group
            found.append(Entry(file, kind, label, inner or part, None, group, group if by_subject else None))
    for suffix, n in others.items():
        gate.leave_out(f"no sample ({suffix})", n)
    if not found and not any(kind_of(f) == "unreadable" for f, _ in _files_below(folder, None)):
        gate.warn(f"The folder '{folder.name}' holds no samples: it is no class.")
    return found


def _files_below(folder: Path, gate: Gate | None) -> Iterator[tuple[Path, str | None]]:
    """(file, name of the folder right below ``folder`` that it lies in, or None), without a system's own."""

    def below(place: Path, group: str | None) -> Iterator[tuple[Path, str | None]]:
        for file in sorted((f for f in place.iterdir() if f.is_file()), key=lambda f: natural_key(f.name)):
            if not is_system_file(file):
                yield file, group
            elif gate is not None:
                gate.leave_out("a system's file", name=file)
        for inner in _folders(place, gate):
            yield from below(inner, group or spelled(inner.name))

    return below(folder, None)


def kind_of(file: Path) -> str | None:
    """'pictures', 'arrays', 'sounds', 'tables', 'unreadable', or None for what is no sample."""
    suffix = file.suffix.lower()
    if suffix == ".gz":  # a table may be compressed
        suffix = Path(file.stem).suffix.lower()
        return "tables" if KINDS.get(suffix) == "tables" else None
    if suffix in UNREADABLE:
        return "unreadable"
    if suffix:
        return KINDS.get(suffix)
    try:
        with open(file, "rb") as stream:
            head = stream.read(12)
    except OSError:
        return None
    if head[:4] == b"RIFF":
        return {b"WAVE": "sounds", b"WEBP": "pictures"}.get(head[8:])
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)


def _one_spelling(entries: list[Entry], gate: Gate) -> None:
    """Say which folders of several spellings became one class; warn of names that differ by case only."""
    folded: dict[str, set[str]] = {}
    for entry in entries:
        folded.setdefault(entry.label.casefold(), set()).add(entry.label)
    for names in folded.values():
        if len(names) > 1:
            gate.warn(f"Classes {', '.join(repr(n) for n in sorted(names))} differ by capital letters only.")
