import numpy as np

rng = np.random.default_rng(0)
images = rng.integers(0, 256, (40, 1, 12, 12)).astype(np.uint8)
labels = ["left", "right"] * 20
