"""Where the shipped device profiles lie."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any


def profile_folder() -> Any:
    """The installed package, or the folder beside it in a source tree that is not installed."""
    try:
        return resources.files("edgecl.device_profiles")
    except ModuleNotFoundError:
        return Path(__file__).parents[2] / "device_profiles"
