import sys
from pathlib import Path

import numpy as np
from PIL import Image

tests = next(p for p in map(Path, sys.path) if p.name == "docs").parent
sys.path.insert(0, str(tests / "backbones"))
import nets  # noqa: E402

nets.pretrained().save("small.edgecl")
for unit in range(3):
    (Path("pictures") / f"kind{unit}").mkdir(parents=True)
    for i, picture in enumerate(nets.pictures(unit, 10)):
        Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0))).save(f"pictures/kind{unit}/{i}.png")
