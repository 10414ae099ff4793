"""load_profile: any device profile, this machine's among them."""

from __future__ import annotations

from pathlib import Path

from .figures import Profile
from .profile import read_profile


def load_profile(name_or_path: str | Path) -> Profile:
    """A shipped profile by name, a TOML file by path, or 'host': this machine, after a short calibration.

    Raises BadInput for an unknown name or a file that does not follow the schema.
    """
    if str(name_or_path) == "host":
        from .calibrate import host_profile  # here: only those who ask for it pay

        return host_profile()
    return read_profile(name_or_path)
