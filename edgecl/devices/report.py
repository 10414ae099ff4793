"""device_report: what a stranger sends us about a machine, and nothing about the stranger."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import __version__
from .boards import board_model, board_profile

SCHEMA = "edgecl.device_report/1"


def device_report(profile: Mapping[str, Any]) -> dict[str, Any]:
    """``profile`` (plain values of 'host') with what its figures depend on; no name, folder, network, serial number."""
    model = board_model()
    return {
        "schema": SCHEMA,
        "edgecl": __version__,
        "board": model,
        "shipped_profile": board_profile(model),
        "calibrated": all(rates["mark"] == "measured" for rates in profile["kernels"].values()),
        "system": {
            "machine": platform.machine(),
            "kernel": platform.release(),
            "python": platform.python_version(),
            "numpy": np.__version__,
        },
        "profile": dict(profile),
    }
