"""Learn what an accelerometer feels, while it is felt: windows of three axes, cut and scaled by the front `window`.

A sensor is anything that yields rows of numbers; replace `readings`. `edgecl feed iio` reads the kernel's own.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgecl import Learner

RATE = 100  # readings a second
KINDS = {"still": 0.0, "walking": 2.0, "shaking": 9.0}  # swings a second


def readings(kind: str, seconds: float, seed: int) -> Iterator[np.ndarray]:
    """float32 [3] in m/s2, `RATE` times a second."""
    rng = np.random.default_rng(seed)
    for step in range(int(seconds * RATE)):
        swing = np.sin(2 * np.pi * KINDS[kind] * step / RATE + np.array([0.0, 1.0, 2.0]))
        yield (3 * (KINDS[kind] > 0) * swing + [0, 0, 9.81] + rng.normal(0, 0.2, 3)).astype(np.float32)


def windows(kind: str, count: int, seed: int) -> np.ndarray:
    """float32 [count, 3, 1, 256]: 2.56 seconds each."""
    rows = np.stack(list(readings(kind, 2.56 * count, seed)))
    return rows.reshape(count, 256, 1, 3).transpose(0, 3, 2, 1)


def main() -> None:
    with Learner("cnn1d", front="window", window_rate=RATE, input_shape=(3, 1, 256), dtype="float32", method="er",
                 memory=60, batch=8) as learner:  # fmt: skip
        for kind in KINDS:  # one after another: the memory keeps what came before
            learner.observe(windows(kind, 20, seed=1), kind)
            learner.learn(epochs=5)
            learner.end_task()
        asked = {kind: learner.predict(windows(kind, 10, seed=2)) for kind in KINDS}
    right = sum(label == kind for kind, found in asked.items() for label in found)
    print(f"{right} of {sum(map(len, asked.values()))} windows are right")


if __name__ == "__main__":
    main()
