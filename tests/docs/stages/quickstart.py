import numpy as np

rng = np.random.default_rng(0)
images = rng.integers(0, 256, (40, 1, 28, 28)).astype(np.uint8)
labels = ["left", "right"] * 20
