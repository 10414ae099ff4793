"""Learn from a folder of photographs, `photos/cat/*.jpg`, `photos/dog/*.jpg`: ``python own_photos.py FOLDER``.

Without a folder it draws one. `edgecl run --stream FOLDER` does the same with tasks, plan and page.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from edgecl import Learner

SIZE = 32  # pixels that a photograph is brought to


def draw(folder: Path) -> Path:
    """Three kinds of photographs: one colour each, in noise."""
    rng = np.random.default_rng(0)
    for kind, colour in {"grass": (40, 160, 60), "sand": (200, 170, 90), "sea": (30, 80, 190)}.items():
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for i in range(20):
            noise = rng.integers(-40, 40, (48, 64, 3))
            Image.fromarray(np.clip(colour + noise, 0, 255).astype(np.uint8)).save(folder / kind / f"{i:02}.png")
    return folder


def photograph(file: Path) -> np.ndarray:
    """uint8 [3, SIZE, SIZE]."""
    return np.asarray(Image.open(file).convert("RGB").resize((SIZE, SIZE))).transpose(2, 0, 1)


def main(folder: Path) -> None:
    files = sorted(f for f in folder.glob("*/*") if f.suffix in (".jpg", ".jpeg", ".png"))
    x, y = np.stack([photograph(f) for f in files]), [f.parent.name for f in files]
    shown = [i for i in range(len(files)) if i % 5]  # every fifth stays unseen
    with Learner("cnn", input_shape=(3, SIZE, SIZE), method="er", memory=100, batch=8, lr=0.02) as learner:
        learner.observe(x[shown], [y[i] for i in shown])
        learner.learn(epochs=8)
        found = learner.predict(x[::5])
    right = sum(a == b for a, b in zip(found, y[::5]))
    print(f"{right} of {len(found)} photographs that were never shown are right")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else draw(Path("photos")))
