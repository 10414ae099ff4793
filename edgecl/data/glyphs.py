"""noto-glyphs: letters of 23 scripts in the Noto faces, 32x32 grey: a long class-incremental stream.

A script is a task; the classes are its first letters and digits, at most 60. Three faces train (two where the script
has no more), one more, unseen, tests. Rendered with Pillow when the set is fetched; the fonts are never shipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BadInput, require
from . import fetch
from .cache import DatasetWriter, PlainDataset
from .datasets import DatasetSpec, register

NOTO_SHA256 = "58f4f0bb6720f919f92096b3508e1412a0f1544424ade6c5b5bf1eb694dd64ba"
HINT = "put the Noto fonts (*.ttf) into a folder and run 'edgecl data get noto-glyphs --from FOLDER'."
SIDE, SIZE = 32, 21  # pixels; font size at which the tallest letters still fit
MOST_CLASSES = 60  # a script
TRAIN_TAKES, TEST_TAKES = 5, 3  # renderings of a class in one face

# faces as in NotoNAME.ttf; the last one tests
FOUR = ("Sans{}-Regular", "Sans{}-Bold", "Serif{}-Regular", "Serif{}-Bold")
SCRIPTS: dict[str, tuple[str, ...]] = {
    **{name: tuple(f.format("") for f in FOUR) for name in ("Latin", "Greek", "Cyrillic")},
    **{
        name: tuple(f.format(name) for f in FOUR)
        for name in (
            "Armenian", "Bengali", "Devanagari", "Ethiopic", "Georgian", "Gujarati", "Gurmukhi", "Hebrew", "Kannada",
            "Khmer", "Lao", "Malayalam", "Myanmar", "Sinhala", "Tamil", "Telugu", "Thai",
        )
    },
    "Arabic": ("SansArabic-Regular", "SansArabic-Bold", "NaskhArabic-Regular", "NaskhArabic-Bold"),
    "Balinese": ("SansBalinese-Regular", "SansBalinese-Bold", "SerifBalinese-Regular"),
    "Khojki": ("SansKhojki-Regular", "SerifKhojki-Regular", "SerifKhojki-Bold"),
}  # fmt: skip


def _obtain(work: Path) -> Path:
    return fetch.debian_package("fonts-noto-core", NOTO_SHA256, work, HINT) / "usr/share/fonts/truetype/noto"


def _convert(folder: Path, out: Path) -> None:
    here = {s: faces for s, faces in SCRIPTS.items() if all((folder / f"Noto{f}.ttf").exists() for f in faces)}
    if not here:
        raise BadInput(f"{folder} holds no script's Noto faces.", f"The files are named like NotoSans-Bold.ttf: {HINT}")
    rng = np.random.default_rng(0)  # the jitter is part of the data set: one fixed draw
    writer = DatasetWriter(out, (1, SIDE, SIDE), "uint8")
    labels: list[str] = []
    units: list[int] = []
    test: list[bool] = []
    seen: set[bytes] = set()
    for script, names in here.items():
        faces = [Face(folder / f"Noto{name}.ttf") for name in names]
        for letter in _classes(script, faces, seen):
            for face in faces:
                last = face is faces[-1]
                for number in range(TEST_TAKES if last else TRAIN_TAKES):
                    writer.append(face.draw(letter, rng if number else None))
                    units.append(len(labels))
                    test.append(last)
            labels.append(f"{script} U+{ord(letter):04X}")
    writer.finish(tuple(labels), np.array(units), np.array(test), source="Noto fonts 20201225, rendered")


def _classes(script: str, faces: list[Face], seen: set[bytes]) -> Iterator[str]:
    """The script's letters and digits in code order that every face has and that look like no earlier class.

    Identical twins (Latin A, Greek Alpha) are one picture with two labels: nobody could tell them apart.
    """
    found = 0
    for letter in letters(script):
        if found == MOST_CLASSES:
            return
        if not all(face.has(letter) for face in faces):
            continue
        pictures = {face.draw(letter).tobytes() for face in faces[:-1]}
        if pictures & seen:
            continue
        seen |= pictures
        found += 1
        yield letter


def letters(script: str) -> Iterator[str]:
    """Letters and decimal digits whose Unicode name begins with the script's, in code order.

    Up to U+11FFF and without compatibility forms (presentation forms, full width).
    """
    import unicodedata  # here: a megabyte that only the fetching child pays for

    for code in range(0x12000):
        letter = chr(code)
        if unicodedata.category(letter) not in ("Lu", "Ll", "Lt", "Lo", "Nd") or unicodedata.decomposition(letter):
            continue
        if unicodedata.name(letter, "").startswith(script.upper() + " "):
            yield letter


class Face:
    """One font file, drawing single letters."""

    def __init__(self, file: Path) -> None:
        self._pillow: Any = require("PIL.Image", "codecs")
        fonts: Any = require("PIL.ImageFont", "codecs")
        self._draw: Any = require("PIL.ImageDraw", "codecs")
        try:
            # basic layout: one letter needs no shaping, and the result does not hang on an optional library
            make = lambda size: fonts.truetype(str(file), size, layout_engine=fonts.Layout.BASIC)  # noqa: E731
            self._fonts = {size: make(size) for size in range(SIZE - 4, SIZE + 1)}
        except OSError as error:
            raise BadInput(f"{file} cannot be read as a font: {error}.", "Give the file as distributed.") from error
        self._missing = bytes(self._fonts[SIZE].getmask("\uffff"))

    def has(self, letter: str) -> bool:
        """False where the face shows nothing or its box for missing letters."""
        mask = bytes(self._fonts[SIZE].getmask(letter))
        return any(mask) and mask != self._missing

    def draw(self, letter: str, rng: np.random.Generator | None = None) -> np.ndarray:
        """uint8 [1, 32, 32], white on black; with ``rng`` varied in size (-4..0), place (+-2) and turn (+-8°)."""
        size = SIZE if rng is None else SIZE - int(rng.integers(0, 5))
        image = self._pillow.new("L", (SIDE, SIDE))
        draw = self._draw.Draw(image)
        font = self._fonts[size]
        left, top, right, bottom = draw.textbbox((0, 0), letter, font=font, anchor="ls")
        # the baseline stays: it tells a comma-like letter from a raised one; only what would be cut is moved
        x = (SIDE - (right - left)) / 2 - left
        y = min(max(23.0, -top), SIDE - bottom) if bottom - top <= SIDE else (SIDE - (top + bottom)) / 2
        if rng is not None:
            x, y = x + rng.uniform(-2, 2), y + rng.uniform(-2, 2)
        draw.text((round(x), round(y)), letter, fill=255, font=font, anchor="ls")
        if rng is not None:
            image = image.rotate(rng.uniform(-8, 8), resample=self._pillow.Resampling.BILINEAR)
        return np.asarray(image, np.uint8)[None]


def split_by_script(data: PlainDataset) -> list[tuple[str, tuple[int, ...], np.ndarray, np.ndarray]]:
    """One task per script, in the data set's order."""
    scripts = [str(label).split(" U+")[0] for label in data.labels]
    units = data.samples.labels
    cuts = []
    for script in dict.fromkeys(scripts):
        classes = tuple(c for c, s in enumerate(scripts) if s == script)
        here = (units >= classes[0]) & (units <= classes[-1])
        cuts.append((script, classes, np.flatnonzero(here & ~data.test), np.flatnonzero(here & data.test)))
    return cuts


register(DatasetSpec("noto", "OFL-1.1", "Noto fonts (Debian 12), rendered", 12_192_896, _obtain, _convert))
