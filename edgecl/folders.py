"""Where things are kept between runs. Imports nothing heavy: every plan looks here for measured entries."""

import os


def cache_path() -> str:
    """$EDGECL_CACHE, else $XDG_CACHE_HOME/edgecl, else ~/.cache/edgecl (not created); absolute.

    A process without a home has none: what it is told then cannot be made, and who tries says so.
    """
    if own := os.environ.get("EDGECL_CACHE"):
        return os.path.abspath(own)
    base, home = os.environ.get("XDG_CACHE_HOME"), os.path.expanduser("~")
    if not base and not os.path.isabs(home):  # neither $HOME nor an entry of the user
        return os.path.join(os.devnull, "edgecl")
    return os.path.abspath(os.path.join(base if base else os.path.join(home, ".cache"), "edgecl"))


def may_write(folder: str | os.PathLike[str]) -> bool:
    """Whether a file can be made in ``folder``: tried, because root is told yes everywhere."""
    import tempfile

    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
