"""A new class from 20 pictures: one contender a process, which prints what it took.

EfficientNet-Lite0 at 96 pixels, frozen up to its pooled features, a linear head over nine classes that it learned
before; then 20 pictures of a tenth: the backbone's pass over them, and ten epochs of batches of 10 with 10 replayed out
of 200 latents. The processor's seconds of that are counted, one thread; the peak is of the whole process, and
`teach.py` reads it from outside.

    python bench/teach_class.py ours native|onnxruntime | torch
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

OLD, EACH, NEW, SIZE = 9, 24, 20, 96
EPOCHS, BATCH, BUFFER, LR, MOMENTUM = 10, 10, 200, 0.03, 0.9
# expansion, kernel, output channels, blocks, stride of the first block
STAGES = ((1, 3, 16, 1, 1), (6, 3, 24, 2, 2), (6, 5, 40, 2, 2), (6, 3, 80, 3, 2), (6, 5, 112, 3, 1),
          (6, 5, 192, 4, 2), (6, 3, 320, 1, 1))  # fmt: skip


def pictures(unit: int, count: int) -> np.ndarray:
    """uint8 [count, 3, 96, 96] of one class: coloured stripes of its own width and slope, in noise."""
    rng = np.random.default_rng([7, unit])
    y, x = np.mgrid[:SIZE, :SIZE]
    wave = np.sin((x * np.cos(unit) + y * np.sin(unit)) * (0.1 + 0.07 * unit))
    colour = 90 * np.cos(unit + np.arange(3))[:, None, None]
    return np.clip(127 + colour * wave + rng.normal(0, 40, (count, 3, SIZE, SIZE)), 0, 255).astype(np.uint8)


def ours(executor: str) -> dict[str, float]:
    import edgecl

    with edgecl.Learner(
        backbone="efficientnet_lite0", cut="pooled", executor=executor, input_shape=(3, SIZE, SIZE), method="er",
        memory=BUFFER, batch=BATCH, replay_batch=BATCH, lr=LR, momentum=MOMENTUM, buffer=300, classes=10,
    ) as learner:  # fmt: skip
        for unit in range(OLD):
            learner.observe(pictures(unit, EACH), unit)
        learner.learn(epochs=2)
        learner.end_task()
        new = pictures(OLD, NEW)
        began, wall = time.process_time(), time.perf_counter()
        learner.observe(new, OLD)
        learner.learn(epochs=EPOCHS)
        took = {"cpu_seconds": time.process_time() - began, "seconds": time.perf_counter() - wall}
        right = [np.mean(np.array(learner.predict(pictures(unit, 10))) == unit) for unit in (0, OLD)]
    return {**took, "accuracy": float(np.mean(right))}


def torch_peer() -> dict[str, float]:
    """The same in eager PyTorch, channels last: features of 20 pictures at once, a buffer of latents in RAM."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = lite0(torch)
    head = torch.nn.Linear(1280, OLD + 1)
    optimizer = torch.optim.SGD(head.parameters(), lr=LR, momentum=MOMENTUM)
    rng = np.random.default_rng(0)

    def features(x: np.ndarray):  # type: ignore[no-untyped-def]
        with torch.no_grad():
            scaled = (torch.from_numpy(x).float() - 127) / 128
            return net(scaled.contiguous(memory_format=torch.channels_last))

    def learn(f, y, epochs: int, replay) -> None:  # type: ignore[no-untyped-def]
        for _ in range(epochs):
            for rows in torch.randperm(len(f)).split(BATCH):
                batch, labels = f[rows], y[rows]
                if replay is not None:
                    drawn = torch.from_numpy(rng.choice(len(replay[0]), BATCH))
                    batch, labels = torch.cat([batch, replay[0][drawn]]), torch.cat([labels, replay[1][drawn]])
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(head(batch), labels).backward()
                optimizer.step()

    old = torch.cat([features(pictures(unit, EACH)) for unit in range(OLD)])
    labels = torch.arange(OLD).repeat_interleave(EACH)
    learn(old, labels, 2, None)
    kept = torch.randperm(len(old))[:BUFFER]
    buffer, new = (old[kept].clone(), labels[kept].clone()), pictures(OLD, NEW)
    began, wall = time.process_time(), time.perf_counter()
    learn(features(new), torch.full((NEW,), OLD), EPOCHS, buffer)
    took = {"cpu_seconds": time.process_time() - began, "seconds": time.perf_counter() - wall}
    right = [(head(features(pictures(unit, 10))).argmax(1) == unit).float().mean().item() for unit in (0, OLD)]
    return {**took, "accuracy": float(np.mean(right))}


def lite0(torch):  # type: ignore[no-untyped-def]
    """The same backbone as torch modules, with the weights of the file that `edgecl models get` wrote."""
    import os

    from safetensors.numpy import load_file

    nn, f = torch.nn, torch.nn.functional
    base = os.environ.get("EDGECL_CACHE", os.path.expanduser("~/.cache/edgecl"))
    held = {k: torch.from_numpy(v) for k, v in load_file(f"{base}/models/efficientnet_lite0.edgecl").items()}

    class Unit(nn.Module):
        def __init__(self, name: str, stride: int, depthwise: bool = False, act: bool = True) -> None:
            super().__init__()
            weight = held[f"{name}.weight"]
            out, _, kernel, _ = weight.shape
            groups = out if depthwise else 1
            self.conv = nn.Conv2d(weight.shape[1] * groups, out, kernel, stride, bias=False, groups=groups)
            self.norm, self.act, self.kernel, self.stride = nn.BatchNorm2d(out, eps=1e-3), act, kernel, stride
            self.conv.weight.data = weight
            for ours, theirs in (("scale", "weight"), ("shift", "bias"), ("running_mean",) * 2, ("running_var",) * 2):
                getattr(self.norm, theirs).data = held[f"{name}_norm.{ours}"]

        def forward(self, x):  # type: ignore[no-untyped-def]
            pads = []
            for n in (x.shape[3], x.shape[2]):
                pad = max(0, (-(-n // self.stride) - 1) * self.stride + self.kernel - n)
                pads += [pad // 2, pad - pad // 2]
            x = self.norm(self.conv(f.pad(x, pads) if any(pads) else x))
            return f.relu6(x) if self.act else x

    class Block(nn.Module):
        def __init__(self, at: str, expansion: int, stride: int) -> None:
            super().__init__()
            expand = [Unit(f"{at}_expand", 1)] if expansion > 1 else []
            self.layers = nn.Sequential(
                *expand, Unit(f"{at}_depth", stride, depthwise=True), Unit(f"{at}_project", 1, act=False)
            )

        def forward(self, x):  # type: ignore[no-untyped-def]
            y = self.layers(x)
            return x + y if x.shape == y.shape else y

    blocks = [
        Block(f"s{i}b{b}", expansion, stride if b == 1 else 1)
        for i, (expansion, _, _, count, stride) in enumerate(STAGES, 1)
        for b in range(1, count + 1)
    ]
    net = nn.Sequential(Unit("stem", 2), *blocks, Unit("last", 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return net.eval().requires_grad_(False).to(memory_format=torch.channels_last)


if __name__ == "__main__":
    print(json.dumps(ours(sys.argv[2]) if sys.argv[1] == "ours" else torch_peer()))
