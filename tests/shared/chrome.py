"""Where Chromium is."""

import os
import shutil

import pytest


def chromium() -> str:
    """Its path; the test is skipped where there is none, or fails where it must be there."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        if os.environ.get("EDGECL_BROWSER") == "required":
            pytest.fail("These tests need Chromium: apt-get install chromium.")
        pytest.skip("no Chromium here")
    return found
