"""The benchmark networks as plain torch modules: the dense peers."""

from __future__ import annotations

import torch
from samples import SAMPLE, SAMPLES
from torch import nn
from torch.nn import functional as F


class BasicBlock(nn.Module):
    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


def resnet(widths: list[int], blocks: int, classes: int = 10, channels: int = 3) -> nn.Module:
    layers: list[nn.Module] = [
        nn.Conv2d(channels, widths[0], 3, 1, 1, bias=False),
        nn.BatchNorm2d(widths[0]),
        nn.ReLU(),
    ]
    last = widths[0]
    for stage, width in enumerate(widths):
        for block in range(blocks):
            layers.append(BasicBlock(last, width, 2 if stage and block == 0 else 1))
            last = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, classes))


class InvertedResidual(nn.Module):
    def __init__(self, channels_in: int, channels: int, expansion: int, stride: int) -> None:
        super().__init__()
        inner = channels_in * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers += [nn.Conv2d(channels_in, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU6()]
        layers += [nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False), nn.BatchNorm2d(inner), nn.ReLU6()]
        layers += [nn.Conv2d(inner, channels, 1, bias=False), nn.BatchNorm2d(channels)]
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and channels_in == channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layers(x)
        return x + y if self.residual else y


def mobilenetv2(classes: int = 10, channels: int = 3) -> nn.Module:
    """For 32x32: stem and first two stages at stride 1."""
    layers: list[nn.Module] = [nn.Conv2d(channels, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6()]
    last = 32
    stages = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for expansion, width, blocks, stride in stages:
        for block in range(blocks):
            layers.append(InvertedResidual(last, width, expansion, stride if block == 0 else 1))
            last = width
    layers += [nn.Conv2d(last, 1280, 1, bias=False), nn.BatchNorm2d(1280), nn.ReLU6()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, classes))


def unit(
    channels_in: int, channels: int, kernel: tuple[int, int], *,
    stride: int = 1, groups: int = 1, padding: tuple[int, int] | None = None,
) -> list[nn.Module]:  # fmt: skip
    """Convolution, batch norm, ReLU."""
    padding = padding or (kernel[0] // 2, kernel[1] // 2)
    conv = nn.Conv2d(channels_in, channels, kernel, stride, padding, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(channels), nn.ReLU()]


def cnn(classes: int = 10) -> nn.Module:
    layers = unit(1, 32, (3, 3))
    for a, b in ((32, 64), (64, 128)):
        layers += [nn.MaxPool2d(2), *unit(a, b, (3, 3))]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, classes))


def cnn1d(classes: int = 6) -> nn.Module:
    layers = unit(6, 32, (1, 5))
    for a, b in ((32, 64), (64, 128)):
        layers += [nn.MaxPool2d((1, 2)), *unit(a, b, (1, 5))]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, classes))


def ds_cnn(classes: int = 12) -> nn.Module:
    layers = unit(1, 64, (10, 4), stride=2, padding=(5, 1))
    for _ in range(4):
        layers += [*unit(64, 64, (3, 3), groups=64), *unit(64, 64, (1, 1))]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


NETS = {
    "resnet18": lambda: resnet([64, 128, 256, 512], 2),
    "resnet20": lambda: resnet([16, 32, 64], 3),
    "mobilenetv2": mobilenetv2,
    "cnn": cnn,
    "cnn1d": cnn1d,
    "ds_cnn": ds_cnn,
}


class Step:
    """A whole training step of a dense torch network: forward, loss, backward, SGD with momentum."""

    def __init__(self, net: str, batch: int, channels_last: bool) -> None:
        torch.manual_seed(0)
        self.model = NETS[net]()
        shape, classes = SAMPLES.get(net, SAMPLE)
        self.x = torch.randn(batch, *shape)
        self.y = torch.randint(0, classes, (batch,))
        if channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
            self.x = self.x.contiguous(memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.05, momentum=0.9, weight_decay=1e-4)

    def __call__(self) -> None:
        self.optimizer.zero_grad()
        F.cross_entropy(self.model(self.x), self.y).backward()
        self.optimizer.step()
