"""Where Chromium is, and what its tests need beside it."""

import os
import shutil
from importlib import import_module
from typing import Any

import pytest


def _missing(what: str, remedy: str) -> None:
    if os.environ.get("EDGECL_BROWSER") == "required":
        pytest.fail(f"These tests need {what}: {remedy}.")
    pytest.skip(f"no {what} here")


def chromium() -> str:
    """Its path; the test is skipped where there is none, or fails where it must be there."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        _missing("Chromium", "apt-get install chromium")
    return str(found)


def needed(module: str) -> Any:
    """What drives or checks a page; without it as without a browser."""
    try:
        return import_module(module)
    except ImportError:
        _missing(module, "pip install 'edgecl[test]'")
