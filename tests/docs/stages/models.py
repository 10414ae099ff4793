import numpy as np
import torch

import edgecl

torch.manual_seed(0)
module = torch.nn.Sequential(
    torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 2)
)  # fmt: skip
example = torch.zeros(1, 1, 8, 8)
edgecl.to_onnx(edgecl.from_torch(module, example), "net.onnx")
x = np.random.default_rng(0).normal(size=(20, 1, 8, 8)).astype(np.float32)
labels = ["cat", "dog"] * 10
