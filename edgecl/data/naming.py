"""Names as people and their programs leave them: spellings, numbers in them, splits, and what systems put beside."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import numpy as np

SPLITS = {
    **dict.fromkeys(("train", "training", "trn", "trainset", "train_set"), "train"),
    **dict.fromkeys(("test", "testing", "tst", "eval", "evaluation", "testset", "test_set"), "test"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
}
SYSTEM_FOLDERS = {
    "__macosx", "@eadir", "#recycle", "#snapshot", "$recycle.bin", "system volume information", "lost+found",
    "__pycache__", "thumbnails", "_thumbnails",
}  # fmt: skip
SYSTEM_FILES = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}
UNFINISHED = (".part", ".crdownload", ".tmp", "~")


def spelled(name: str) -> str:
    """One spelling of a name: Unicode NFC, without space before and after."""
    return unicodedata.normalize("NFC", name).strip()


def natural_key(name: str | int) -> tuple:
    """A key that puts 'class 2' before 'class 10'."""
    if not isinstance(name, str):
        return (0, name)
    parts = re.split(r"(\d+)", name.casefold())
    return (1, [(0, int(p), "") if p.isdigit() and p.isascii() else (1, 0, p) for p in parts if p], name)


def natural_order(names: Iterable[str | int]) -> list:
    """``names``, each once, in natural order."""
    return sorted(set(names), key=natural_key)


def codes(names: Iterable[str | int]) -> tuple[list, np.ndarray]:
    """The different names in natural order, and int32 [n]: the place of each among them."""
    given = list(names)
    order = natural_order(given)
    place = {name: i for i, name in enumerate(order)}
    return order, np.fromiter((place[name] for name in given), np.int32, len(given))


def split_of(name: str) -> str | None:
    """'train', 'test' or 'val' for the name of a split, else None."""
    return SPLITS.get(spelled(name).casefold())


def is_system_folder(path: Path) -> bool:
    return path.name.startswith(".") or path.name.casefold() in SYSTEM_FOLDERS


def is_system_file(path: Path) -> bool:
    name = path.name.casefold()
    return name.startswith(".") or name in SYSTEM_FILES or name.endswith(UNFINISHED)


def subject_in(name: str, folder: bool = False) -> str | None:
    """The subject that a name such as 'subject_07' or 'walk-user3' tells of, else None; a folder's may be 's07'."""
    words = "subject|subj|user|person|participant|speaker|patient" + ("|s|p|u" if folder else "")
    found = re.search(rf"(?:^|[_\- ])((?:{words})[_\- ]?\d+)", spelled(name), re.I)
    return None if found is None else re.sub(r"[_\- ]", "", found[1]).casefold()
