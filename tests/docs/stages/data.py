from pathlib import Path

import numpy as np
from PIL import Image

rng = np.random.default_rng(0)
for unit, name in enumerate(("cat", "dog", "hen")):
    (Path("photos") / name).mkdir(parents=True)
    for i in range(8):
        values = rng.integers(80 * unit, 80 * unit + 60, (64 + 8 * unit + i, 70, 3)).astype(np.uint8)
        Image.fromarray(values).save(f"photos/{name}/{i}.png")

with open("hapt.csv", "w") as table:
    print("activity,acc_x,acc_y,acc_z", file=table)
    for i in range(60):
        x, y, z = rng.normal(i % 3, 0.1, 3)
        print(f"{('sit', 'stand', 'walk')[i % 3]},{x:.4f},{y:.4f},{z:.4f}", file=table)


class Pairs:
    """As torch.utils.data.Dataset: (sample, class) by index."""

    classes = ("dark", "bright")

    def __len__(self):
        return 20

    def __getitem__(self, i):
        return np.full((1, 8, 8), 100 * (i % 2) + i, np.uint8), i % 2


torch_dataset = Pairs()
rows = [{"image": np.full((8, 8), 100 * (i % 2) + i, np.uint8), "label": i % 2} for i in range(20)]
more = rows[:4]
pairs = ((np.full((1, 8, 8), 100 * (i % 2) + i, np.uint8), i % 2) for i in range(20))
