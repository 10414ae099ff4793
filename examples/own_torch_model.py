"""A torch module becomes a file that a device opens without torch, and learns there with a fifth of its weights."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

import edgecl


class Small(nn.Module):
    """A convolution, a residual one, a classifier."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 16, 3, padding=1)
        self.second = nn.Conv2d(16, 16, 3, padding=1)
        self.head = nn.Linear(16, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.first(x))
        x = torch.nn.functional.max_pool2d(x + torch.relu(self.second(x)), 2)
        return self.head(x.mean(dim=(2, 3)))


def stripes(count: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """float32 [count, 1, 12, 12] of lying and standing stripes in noise, and their labels."""
    rng = np.random.default_rng(seed)
    wave = np.sin(np.arange(12) * 1.5)
    lying = rng.integers(0, 2, count).astype(bool)
    x = np.where(lying[:, None, None], wave[None, :, None], wave[None, None, :]) + rng.normal(0, 0.3, (count, 12, 12))
    return x[:, None].astype(np.float32), ["lying" if k else "standing" for k in lying]


def main() -> None:
    torch.manual_seed(0)
    network = edgecl.from_torch(Small(2), torch.zeros(1, 1, 12, 12), classes=["lying", "standing"])
    network.save("small.edgecl")  # what goes to the device
    (x, y), (unseen, expected) = stripes(120, seed=0), stripes(60, seed=1)
    with edgecl.Learner("small.edgecl", method="er", memory=60, batch=12, sparsity=0.8, lr=0.05) as learner:
        learner.observe(x, y)
        log = learner.learn(epochs=15)
        right = sum(a == b for a, b in zip(learner.predict(unseen), expected))
    print(f"{right} of {len(expected)} right after {log.steps} steps")


if __name__ == "__main__":
    main()
