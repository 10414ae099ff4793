"""Device profiles by name or file (`schema` checks them), and 'host': this machine, calibrated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import BadInput, unknown_name
from ..storage.bounded import parse_toml, read_table
from .figures import Profile
from .folder import profile_folder
from .schema import parse_profile

_MOST_BYTES = 4 << 20  # of a profile's file


def list_profiles() -> list[str]:
    """Names for `load_profile`: the shipped devices and 'host', this machine."""
    return [*sorted(_shipped()), "host"]


def read_profile(name_or_path: str | Path) -> Profile:
    """A shipped profile by name, or a TOML or JSON file by path.

    Raises BadInput for an unknown name or a file that does not follow the schema.
    """
    name = str(name_or_path)
    shipped = _shipped()
    if name in shipped:
        data = parse_toml(shipped[name].read_bytes())
    elif name.endswith((".toml", ".json")):
        try:
            data = read_table(name, _MOST_BYTES)
        except OSError as error:
            raise BadInput(f"The device profile {name} cannot be read: {error}.", "Check the path.") from error
        except ValueError as error:
            cause = f"The device profile {name} is not valid: {error}."
            raise BadInput(cause, "Compare it with rpi_4b.toml.") from error
    else:
        raise unknown_name("device", name, [*shipped, "host"])
    return parse_profile(data, name)


def _shipped() -> dict[str, Any]:
    folder = profile_folder()
    return {f.name.removesuffix(".toml"): f for f in folder.iterdir() if f.name.endswith(".toml")}
