"""A sheet of samples, a row a class, to see with one's own eyes what a network would be shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BadInput, require
from .source import SampleSource
from .streams import Stream

CELL, GAP, NAME_WIDTH, TITLE = 96, 4, 150, 22  # pixels
COLUMNS, ROWS = 8, 40
COLOURS = ((31, 119, 180), (214, 39, 40), (44, 160, 44), (148, 103, 189), (255, 127, 14), (90, 90, 90))
LONGEST_NAME = 24


def draw_sheet(stream: Stream, out: Path, title: str = "") -> int:
    """Write a PNG with up to 8 training samples of each of the first 40 classes; how many classes it shows.

    Pictures as they are (values beyond 8 bits between their 1st and 99th percentile), windows as curves, sounds as
    maps of coefficient and time, rows as bars.
    """
    image_module, draw_module = require("PIL.Image", "codecs"), require("PIL.ImageDraw", "codecs")
    chosen = _samples(stream)
    values = np.concatenate([x.reshape(-1) for x in chosen.values() if x.size])
    low, high = np.percentile(values, [1, 99]) if stream.input_dtype != "uint8" else (0.0, 255.0)
    width = NAME_WIDTH + COLUMNS * (CELL + GAP) + GAP
    height = TITLE + len(chosen) * (CELL + GAP) + GAP
    sheet = image_module.new("RGB", (width, height), (255, 255, 255))
    pen = draw_module.Draw(sheet)
    pen.text((GAP, GAP), title[: width // 6], fill=(0, 0, 0))
    for row, (unit, samples) in enumerate(chosen.items()):
        top = TITLE + row * (CELL + GAP)
        name = str(stream.labels[unit])
        pen.text((GAP, top + CELL // 2 - 6), name[:LONGEST_NAME], fill=(0, 0, 0))
        for column, x in enumerate(samples):
            left = NAME_WIDTH + column * (CELL + GAP)
            if stream.kind == "image":
                sheet.paste(_picture(image_module, x, low, high), (left, top))
            elif stream.about.get("kind") == "sounds":
                sheet.paste(_map(image_module, x), (left, top))
            else:
                _curves(pen, x, left, top, low, high)
    try:
        sheet.save(out, "PNG")
    except OSError as error:
        raise BadInput(f"'{out}' cannot be written to: {error.strerror or error}.", "Choose another --out.") from error
    return len(chosen)


def _samples(stream: Stream) -> dict[int, np.ndarray]:
    """[k, C, H, W] by head unit: k of its training samples, evenly from first to last."""
    chosen: dict[int, np.ndarray] = {}
    for unit in range(min(stream.class_count, ROWS)):
        for task in stream.tasks:
            source: SampleSource = task.train
            where = np.flatnonzero(source.labels == unit)
            if where.size:
                at = np.linspace(0, where.size - 1, min(COLUMNS, where.size)).round().astype(int)
                chosen[unit] = source.read(where[at]).copy()
                break
    return chosen


def _picture(image_module: Any, x: np.ndarray, low: float, high: float) -> Any:
    if x.dtype != np.uint8:
        x = np.clip((x - low) / max(high - low, 1e-9) * 255, 0, 255).astype(np.uint8)
    plane = x.transpose(1, 2, 0) if len(x) == 3 else x[0]
    image = image_module.fromarray(np.ascontiguousarray(plane)).convert("RGB")
    scale = CELL / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    cell = image_module.new("RGB", (CELL, CELL), (235, 235, 235))
    exact = image_module.Resampling.NEAREST if scale > 1 else image_module.Resampling.BILINEAR
    cell.paste(image.resize(size, exact), ((CELL - size[0]) // 2, (CELL - size[1]) // 2))
    return cell


def _map(image_module: Any, x: np.ndarray) -> Any:
    """Coefficients over time: each coefficient from its least (dark) to its largest value, the first at the bottom."""
    plane = x[:, 0]
    low, high = plane.min(axis=1, keepdims=True), plane.max(axis=1, keepdims=True)
    grey = ((plane - low) / np.maximum(high - low, 1e-9) * 255).astype(np.uint8)[::-1]
    image = image_module.fromarray(np.ascontiguousarray(grey)).convert("RGB")
    return image.resize((CELL, CELL), image_module.Resampling.NEAREST)


def _curves(pen: Any, x: np.ndarray, left: int, top: int, low: float, high: float) -> None:
    """A curve a channel; a row of features is one curve."""
    channels = x.reshape(len(x), -1) if x.shape[2] > 1 else x.reshape(1, -1)
    pen.rectangle((left, top, left + CELL - 1, top + CELL - 1), fill=(248, 248, 248))
    span = max(high - low, 1e-9)
    for number, channel in enumerate(channels):
        across = np.linspace(left + 1, left + CELL - 2, channel.size)
        down = top + CELL - 2 - np.clip((channel - low) / span, 0, 1) * (CELL - 3)
        points = [(float(a), float(d)) for a, d in zip(across, down)]
        pen.line(points if len(points) > 1 else points * 2, fill=COLOURS[number % len(COLOURS)])
