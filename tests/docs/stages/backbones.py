from pathlib import Path

import numpy as np
from PIL import Image

rng = np.random.default_rng(0)
pictures, labels = [], []
for unit, name in enumerate(("cup", "fork", "spoon")):
    (Path("pictures") / name).mkdir(parents=True)
    for i in range(4):
        values = rng.integers(80 * unit, 80 * unit + 60, (96, 96, 3)).astype(np.uint8)
        Image.fromarray(values).save(f"pictures/{name}/{i}.png")
        pictures.append(values.transpose(2, 0, 1))
        labels.append(name)
pictures = np.stack(pictures)
picture = pictures[0]
