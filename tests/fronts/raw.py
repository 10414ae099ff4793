"""Raw signals and sounds with something to learn, and options of a small learner."""

from __future__ import annotations

import numpy as np


def raw_signals(unit: int, count: int, seed: int = 0) -> np.ndarray:
    """float32 [count, 3, 1, 80] of one class, at 100 Hz."""
    rng = np.random.default_rng([seed, unit])
    t = np.arange(80) / 100
    wave = np.stack([np.sin(2 * np.pi * (1 + 2 * unit) * t + phase) for phase in range(3)])[:, None]
    return (wave + rng.normal(0, 0.3, (count, 3, 1, 80))).astype(np.float32)


def sounds(unit: int, count: int, seed: int = 0) -> np.ndarray:
    """float32 [count, 1, 1, 8000] of one class: half a second of a tone in noise."""
    rng = np.random.default_rng([seed, unit])
    tone = 0.5 * np.sin(2 * np.pi * 350 * (unit + 1) * np.arange(8000) / 16000)
    return (tone + rng.normal(0, 0.05, (count, 1, 1, 8000))).astype(np.float32)


WINDOW = {"front": "window", "window_rate": 100.0, "window_length": 32}
SMALL = {"network": "cnn1d", "method": "er", "batch": 8, "memory": 16, "lr": 0.02, "seed": 4}
