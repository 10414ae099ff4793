"""Which board this is, by its device tree, and the shipped profile that knows it."""

from __future__ import annotations

from pathlib import Path

from ..storage.bounded import parse_toml
from .folder import profile_folder
from .sensors.base import maybe_text, sensor_root

# beginnings of /proc/device-tree/model, the longest first where one begins another
BOARDS = {
    "Raspberry Pi Zero 2": "rpi_zero_2w",
    "Raspberry Pi 3 Model B Plus": "rpi_3b_plus",
    "Raspberry Pi 4": "rpi_4b",
    "Raspberry Pi Compute Module 4": "rpi_4b",
    "Raspberry Pi 400": "rpi_4b",
    "Raspberry Pi 5": "rpi_5",
    "Raspberry Pi Compute Module 5": "rpi_5",
    "NVIDIA Jetson Nano": "jetson_nano",
    "NVIDIA Jetson Orin Nano": "jetson_orin_nano",
    "NVIDIA Orin Nano": "jetson_orin_nano",
    "NVIDIA Jetson TX2": "jetson_tx2",
    "quill": "jetson_tx2",
    "Qualcomm Technologies, Inc. Robotics RB1": "qrb2210",
    "Qualcomm Technologies, Inc. APQ 8016": "sd410",
}


def board_model(root: Path | None = None) -> str | None:
    """What the device tree calls this board, or None where there is none. root : of the file system, for tests"""
    text = maybe_text((root or sensor_root()) / "proc/device-tree/model")
    return None if text is None else text.replace("\0", "").strip() or None


def board_profile(model: str | None) -> str | None:
    """The shipped profile of a board by its ``model``, or None."""
    known = [name for start, name in BOARDS.items() if model is not None and model.startswith(start)]
    return known[0] if known else None


def shipped_tables(name: str) -> dict:
    """The tables of a shipped profile, as its file holds them."""
    return parse_toml((profile_folder() / f"{name}.toml").read_bytes())
