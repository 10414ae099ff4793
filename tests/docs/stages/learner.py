import numpy as np

rng = np.random.default_rng(0)
images = rng.integers(0, 256, (40, 1, 28, 28)).astype(np.uint8)
labels, image = ["left", "right"] * 20, images[0]
