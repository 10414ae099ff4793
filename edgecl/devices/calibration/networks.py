"""Networks made for calibration: every layer class at several widths and map sizes; none is one of the builders'."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...graph import Graph, GraphBuilder


class _Net:
    """A graph under construction: numbered units of convolution, batch norm and activation."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.g = GraphBuilder("calibration", shape, "float32")
        zeros, ones = [0.0] * shape[0], [1.0] * shape[0]
        self.x = self.g.add("normalise", [self.g.input], name="input_norm", mean=zeros, std=ones)
        self.count = 0

    def unit(
        self, x: str, out: int, kernel: Sequence[int], stride: int = 1, groups: int = 1, activation: str | None = "relu"
    ) -> str:
        self.count += 1
        i, flat = self.count, kernel[0] == 1 and kernel[1] > 1
        y = self.g.add(
            "conv2d", [x], name=f"conv{i}", out=out, kernel=list(kernel), stride=[1 if flat else stride, stride],
            padding=[k // 2 for k in kernel], groups=groups, bias=False, prunable=i > 1 and groups == 1,
        )  # fmt: skip
        y = self.g.add("batch_norm", [y], name=f"norm{i}")
        return self.g.add(activation, [y], name=f"act{i}") if activation else y

    def join(self, x: str, y: str) -> str:
        if self.g.shapes[x] == self.g.shapes[y]:
            y = self.g.add("add", [y, x], name=f"sum{self.count}")
        return self.g.add("relu", [y], name=f"out{self.count}")

    def finish(self, x: str) -> Graph:
        if len(self.g.shapes[x]) == 3:
            x = self.g.add("global_avg_pool", [x], name="pooled")
        return self.g.build(self.g.add("linear", [x], name="logits", out=10, bias=True))


def residual(size: int, width: int, depth: int, stages: int = 4) -> Graph:
    """3x3 convolutions, doubling in width and halving in size by strides."""
    n = _Net((3, size, size))
    x = n.unit(n.x, width, (3, 3))
    for stage in range(stages):
        for block in range(depth):
            stride = 2 if stage and not block else 1
            x = n.join(x, n.unit(x, width * 2**stage, (3, 3), stride, activation=None))
        if stage and depth > 1:
            x = n.join(x, n.unit(x, width * 2**stage, (1, 1), activation=None))
    return n.finish(x)


def pooled(channels: int, size: tuple[int, int], width: int, kernel: tuple[int, int], stages: int = 3) -> Graph:
    """Convolutions with max pooling between them, on images or windows of a signal."""
    n = _Net((channels, *size))
    x = n.x
    flat = size[0] == 1
    for stage in range(stages):
        if stage:
            window = [1 if flat else 2, 2]
            x = n.g.add("max_pool", [x], name=f"pool{stage}", kernel=window, stride=window)
        x = n.unit(x, width * 2**stage, kernel)
    return n.finish(x)


def inverted(size: int, width: int, expansion: int, stages: int = 4) -> Graph:
    """Pointwise and depthwise convolutions."""
    n = _Net((3, size, size))
    x = n.unit(n.x, width, (3, 3))
    for stage in range(stages):
        for block in range(2):
            inner = n.g.shapes[x][0] * expansion
            y = n.unit(x, inner, (1, 1), activation="relu6")
            y = n.unit(y, inner, (3, 3), 2 if stage and not block else 1, groups=inner, activation="relu6")
            x = n.join(x, n.unit(y, width * 2**stage, (1, 1), activation=None))
    return n.finish(x)


def layers(sizes: Sequence[int]) -> Graph:
    """Linear layers."""
    n = _Net((1, sizes[0], 1))
    x = n.g.add("flatten", [n.x], name="flat")
    for i, out in enumerate(sizes[1:]):
        x = n.g.add("linear", [x], name=f"linear{i}", out=out, bias=True, prunable=True)
        x = n.g.add("relu", [x], name=f"act{i}")
    return n.finish(x)


NETWORKS: dict[str, Callable[[], Graph]] = {
    "residual 24": lambda: residual(32, 24, 2),
    "residual 40": lambda: residual(32, 40, 1),
    "residual 72": lambda: residual(32, 72, 2),
    "pooled 24": lambda: pooled(1, (24, 24), 24, (3, 3)),
    "pooled 40": lambda: pooled(3, (28, 28), 40, (3, 3)),
    "signal 24": lambda: pooled(6, (1, 96), 24, (1, 5)),
    "signal 48": lambda: pooled(9, (1, 128), 48, (1, 7)),
    "signal 40": lambda: pooled(3, (1, 200), 40, (1, 5), 4),
    "inverted 16": lambda: inverted(32, 16, 6),
    "inverted 24": lambda: inverted(32, 24, 6),
    "inverted 24 small": lambda: inverted(16, 24, 4, 3),
    "layers 128": lambda: layers([640, 128, 96]),
    "layers 300": lambda: layers([784, 300, 200]),
    "layers 512": lambda: layers([400, 512, 512]),
}
