"""The root key of an encrypted store as the command line gets it: in a file that none of our folders holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BadInput

if TYPE_CHECKING:
    from ..storage import KeyFile


def root_key(file: str | None, *folders: str | None, make: bool = False) -> KeyFile | None:
    """The key in ``file``, which lies in none of ``folders``; ``make``: one is made where there is none."""
    from ..storage import KeyFile
    from ..storage.errors import ReadOnly, StoreDamaged, StoreFull

    if file is None:
        return None
    if not make and not Path(file).is_file():
        raise BadInput(f"There is no key file '{file}'.", "Give the one that the store was made with.")
    for folder in folders:
        if folder is not None and Path(folder).resolve() in Path(file).resolve().parents:
            raise BadInput(f"The key file '{file}' lies in '{folder}'.", "Keep it elsewhere, best on another medium.")
    try:
        key = KeyFile(file)
        if not key.keys():  # read here: before a store is made that has no key
            raise BadInput(f"The key file '{file}' holds no key.", "Give another one.")
        return key
    except (StoreFull, ReadOnly, StoreDamaged) as error:
        raise BadInput(error.cause, "Choose another place.") from error
