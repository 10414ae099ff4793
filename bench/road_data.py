"""Data as four people would bring it, made from the packaged data sets: photographs, a table, sounds, windows.

Each maker writes into an empty folder and returns the path to give to `edgecl run --stream`.
"""

from __future__ import annotations

import csv
import gzip
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgecl.data import datasets, inertial, keywords

LETTERS, CLOTHES = "ABEMS", ("trouser", "pullover", "sandal", "bag", "boot")
UNIT_OF = {"trouser": 1, "pullover": 2, "sandal": 5, "bag": 8, "boot": 9}
TRAIN, TEST = 40, 20  # photographs of a class
WORDS = ("yes", "no", "up", "down", "stop", "seven", "bird", "house", "sheila", "wow")
STEPS = 640  # of a subject's activity in the table, at most: 13 s
EVERY = 6  # of the windows


def photographs(folder: Path) -> Path:
    """Letters and Fashion images at mixed sizes somewhere on noisy grounds: train and test folders of JPEG."""
    from PIL import Image

    rng = np.random.default_rng(0)
    glyphs, fashion = (datasets.load_dataset(name) for name in ("noto", "fashion"))
    sources = [(f"letter {c}", glyphs, list(glyphs.labels).index(f"Latin U+{ord(c):04X}")) for c in LETTERS]
    sources += [(name, fashion, UNIT_OF[name]) for name in CLOTHES]
    for name, data, unit in sources:
        labels = np.asarray(data.samples.labels)
        for part, count, test in (("train", TRAIN, False), ("test", TEST, True)):
            (folder / "photographs" / part / name).mkdir(parents=True)
            rows = rng.choice(np.flatnonzero((labels == unit) & (np.asarray(data.test) == test)), count)
            for i, x in enumerate(data.samples.read(rows)):
                picture = on_noise(x[0], rng)
                Image.fromarray(picture).save(folder / "photographs" / part / name / f"{i:03d}.jpg", quality=92)
    return folder / "photographs"


def on_noise(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """uint8 [h, w, 3]: ``x`` (bright on dark) in a colour of its own, scaled and placed on a coloured noisy ground."""
    from PIL import Image

    height, width = rng.integers(56, 120, 2)
    side = int(min(height, width) * rng.uniform(0.8, 1.0))
    ink = np.asarray(Image.fromarray(x).resize((side, side), Image.Resampling.BILINEAR), np.float32) / 255
    top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
    mask = np.zeros((height, width, 1), np.float32)
    mask[top : top + side, left : left + side, 0] = ink
    ground = rng.uniform(20, 90, 3) + rng.normal(0, 12, (height, width, 3))
    return np.clip(ground * (1 - mask) + rng.uniform(170, 250, 3) * mask, 0, 255).astype(np.uint8)


def recordings() -> dict[int, list[tuple[np.ndarray, np.ndarray]]]:
    """{subject: [(float32 [6, T], int64 [T]), ...]} of UCI HAPT."""
    with tempfile.TemporaryDirectory() as work:
        folder = inertial._obtain_hapt(Path(work))
        with gzip.open(folder / "HAPT.pkl.gz") as stream:
            return inertial.read_frames(stream)


def table(folder: Path) -> Path:
    """Rows of inertial recordings as CSV: subject, time, six signals, activity."""
    with open(folder / "hapt.csv", "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["subject", "time", *(s.lower() for s in inertial.SIGNALS), "activity"])
        for subject, found in sorted(recordings().items()):
            left, start = dict.fromkeys(range(1, 7), STEPS), 0.0
            for signals, labels in found:
                for t, label in enumerate(labels.tolist()):
                    if left.get(label, 0) > 0:
                        left[label] -= 1
                        row = (f"{v:.5f}" for v in signals[:, t])
                        out.writerow([f"s{subject:02d}", f"{start + t / 50:.2f}", *row, inertial.ACTIVITIES[label - 1]])
                start += len(labels) / 50 + 10
    return folder / "hapt.csv"


def sounds(folder: Path) -> Path:
    """Ten spoken words of four synthetic voices in sixteen prosodies as WAV: WORD/VOICE-NUMBER.wav."""
    with tempfile.TemporaryDirectory() as work:
        shutil.copytree(keywords.rendered(Path(work), WORDS), folder / "sounds")
    return folder / "sounds"


def windows(folder: Path) -> Path:
    """Windows of inertial signals as .npz: x [n, 6, 128], y, subject."""
    data = datasets.load_dataset("hapt")
    n = len(data.samples)
    x = np.concatenate([data.samples.read(np.arange(i, min(i + 500, n))) for i in range(0, n, 500)])
    labels = np.asarray(data.samples.labels)
    kept = (labels < 6) & (np.arange(n) % EVERY == 0)  # activities; the rest are transitions between them
    y = np.array([str(data.labels[u]) for u in labels[kept]])
    np.savez(folder / "hapt.npz", x=x[kept][:, :, 0], y=y, subject=np.asarray(data.samples.subjects)[kept])
    return folder / "hapt.npz"


ROADS: dict[str, Callable[[Path], Path]] = {
    "photographs": photographs, "csv": table, "wav": sounds, "npz": windows,
}  # fmt: skip


def made(road: str, folder: Path) -> Path:
    """The data of ``road`` below ``folder``; made once."""
    target, mark = folder / road, folder / road / "path.txt"
    if not mark.is_file():
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        mark.write_text(str(ROADS[road](target).relative_to(target)))
    return target / mark.read_text()
