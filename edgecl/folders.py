"""Where things are kept between runs. Imports nothing heavy: every plan looks here for measured entries."""

import os


def cache_path() -> str:
    """$EDGECL_CACHE, else $XDG_CACHE_HOME/edgecl, else ~/.cache/edgecl (not created)."""
    if own := os.environ.get("EDGECL_CACHE"):
        return own
    base = os.environ.get("XDG_CACHE_HOME")
    return os.path.join(base if base else os.path.join(os.path.expanduser("~"), ".cache"), "edgecl")


def may_write(folder: str | os.PathLike[str]) -> bool:
    """Whether a file can be made in ``folder``: tried, because root is told yes everywhere."""
    import tempfile

    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
