from pathlib import Path

import numpy as np
from PIL import Image

rng = np.random.default_rng(0)
for unit, name in enumerate(("cat", "dog", "hen")):
    (Path("photos") / name).mkdir(parents=True)
    for i in range(12):
        values = rng.integers(80 * unit, 80 * unit + 60, (40, 48, 3)).astype(np.uint8)
        Image.fromarray(values).save(f"photos/{name}/{i}.png")
