"""Floors and goals that docs/performance.md sets the results beside. Never lowered to fit a result."""

from __future__ import annotations

Density = float
# (net, batch, gradient_keep, isa, threads): {density: (floor, goal)}; ratios over the better dense torch
STEP_TARGETS: dict[tuple[str, int, float, str, int], dict[Density, tuple[float, float]]] = {
    ("resnet18", 32, 1.0, "", 2): {0.25: (2.4, 3), 0.1: (4.5, 6), 0.05: (6.5, 9), 1.0: (0.75, 0.95)},
    ("resnet18", 32, 0.2, "", 2): {0.25: (3.1, 4), 0.1: (5.3, 7), 0.05: (7.3, 10)},
    ("resnet18", 8, 1.0, "", 2): {0.25: (2.5, 3), 0.1: (4.7, 6), 0.05: (6.8, 9)},
    ("resnet20", 32, 1.0, "", 2): {0.25: (2.3, 3), 0.1: (3.6, 5), 0.05: (4.5, 6.5)},
    ("resnet20", 8, 1.0, "", 2): {0.25: (3.3, 4.5), 0.1: (5.5, 8), 0.05: (7.0, 10)},
    ("mobilenetv2", 32, 1.0, "", 2): {0.25: (2.3, 3.5), 0.1: (3.0, 4.5), 0.05: (3.3, 5)},
    ("resnet18", 32, 1.0, "avx2", 1): {0.25: (2.1, 2.6), 0.1: (3.6, 5), 0.05: (4.9, 7)},
}
for _net in ("cnn1d", "cnn", "ds_cnn"):
    STEP_TARGETS[_net, 16, 1.0, "", 2] = {0.1: (0, 4)}
SPARSEPROP_TARGETS = {0.1: (3.8, 5), 0.05: (3.5, 5)}
MEMORY_TARGETS = {  # MB of the bare program at 90 %
    ("resnet18", 32): (330, 200),
    ("resnet18", 8): (140, 90),
    ("resnet20", 32): (100, 70),
    ("resnet20", 8): (52, 45),
}
IMPORT_TARGETS = {"import edgecl": ((40, 32), (200, 120))}  # MB, ms: (floor, goal)
SCALING_TARGET = 1.85
