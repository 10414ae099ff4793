"""Networks for windows of signals (C, 1, L): inceptiontime, tcn, gru; and kwt_tiny for spectrograms (1, F, T)."""

from __future__ import annotations

from ...errors import BadInput
from ..builder import GraphBuilder
from ..graph import Graph
from ._parts import Head, conv, finish, norm, norm_kind, start


def _window(head: Head) -> None:
    shape = head.input_shape
    if len(shape) != 3 or shape[1] != 1:
        raise BadInput(
            f"Network '{head.name}' takes windows (C, 1, L); the stream's samples have shape {shape}.",
            "Use 'cnn' or a resnet for images and 'mlp' for anything else.",
        )


def inceptiontime(head: Head, *, width: int = 32, blocks: int = 6) -> Graph:
    """Ismail Fawaz et al. 2020: convolutions of 39, 19 and 9 steps and a pooled branch, joined; a sum every third
    block.

    Prunable: all convolutions but those of the first block.
    """
    _window(head)
    if width < 1 or blocks < 1:
        raise BadInput(f"Width {width} and {blocks} blocks are not possible.", "Use whole numbers from 1 on.")
    kind = norm_kind(head, "batch")
    g, x = start(head)
    kept = x
    for i in range(1, blocks + 1):
        at, y = f"b{i}", x
        if g.shapes[x][0] > 1:
            y = conv(g, x, f"{at}_bottleneck", width, (1, 1), prunable=i > 1)
        parts = [conv(g, y, f"{at}_conv{k}", width, (1, k), prunable=i > 1) for k in (39, 19, 9)]
        pooled = g.add("max_pool", [x], name=f"{at}_pool", kernel=[1, 3], stride=[1, 1], padding=[0, 1])
        parts.append(conv(g, pooled, f"{at}_pooled", width, (1, 1), prunable=i > 1))
        y = norm(g, g.add("concat", parts, name=f"{at}_joined", axis=0), f"{at}_norm", kind)
        x = g.add("relu", [y], name=f"{at}_relu")
        if i % 3 == 0:
            short = norm(g, conv(g, kept, f"{at}_short", 4 * width, (1, 1), prunable=i > 3), f"{at}_short_norm", kind)
            x = kept = g.add("relu", [g.add("add", [x, short], name=f"{at}_sum")], name=f"{at}_sum_relu")
    return finish(g, head, g.add("global_avg_pool", [x], name="pooled"))


def tcn(head: Head, *, width: int = 32, depth: int = 4, kernel: int = 3) -> Graph:
    """Bai et al. 2018: causal convolutions, each block dilated twice as far; the last step counts.

    Prunable: all convolutions but the first and the shortcut.
    """
    _window(head)
    if width < 1 or depth < 1 or kernel < 2:
        raise BadInput(
            f"Width {width}, depth {depth} and kernel {kernel} are not possible.", "Use a kernel of 2 or more."
        )
    kind = norm_kind(head, "batch")
    g, x = start(head)
    for i in range(depth):
        y = _causal(
            g, _causal(g, x, f"b{i + 1}a", width, kernel, 2**i, kind, i > 0), f"b{i + 1}b", width, kernel, 2**i, kind
        )
        short = x if g.shapes[x] == g.shapes[y] else conv(g, x, f"b{i + 1}_short", width, (1, 1))
        x = g.add("relu", [g.add("add", [y, short], name=f"b{i + 1}_sum")], name=f"b{i + 1}_relu")
    channels, _, length = g.shapes[x]
    x = g.add("slice", [x], name="last", start=[0, 0, length - 1], size=[channels, 1, 1], step=[1, 1, 1])
    return finish(g, head, g.add("reshape", [x], name="features", shape=[channels]))


def _causal(
    g: GraphBuilder, x: str, at: str, width: int, kernel: int, apart: int, kind: str, prunable: bool = True
) -> str:
    x = g.add(
        "conv2d", [x], name=at, out=width, kernel=[1, kernel], padding=[0, (kernel - 1) * apart, 0, 0], dilation=[1,
        apart],
        prunable=prunable,
    )  # fmt: skip
    return g.add("relu", [norm(g, x, f"{at}_norm", kind)], name=f"{at}_relu")


def gru(head: Head, *, hidden: int = 64, layers: int = 1) -> Graph:
    """Cho et al. 2014, over the steps of a window; their mean counts. Prunable: all weights but the first layer's."""
    _window(head)
    norm_kind(head, "none", ("none",))
    if hidden < 1 or layers < 1:
        raise BadInput(f"{layers} layers of {hidden} units are not possible.", "Use whole numbers from 1 on.")
    g, x = start(head)
    channels, _, length = head.input_shape
    x = g.add("transpose", [g.add("reshape", [x], name="signals", shape=[channels, length])], name="steps", axes=[1, 0])
    for i in range(1, layers + 1):
        gates = g.add("linear", [x], name=f"gru{i}_input", out=3 * hidden, prunable=i > 1)
        x = g.add("gru", [gates], name=f"gru{i}", hidden=hidden, prunable=True)
    return finish(g, head, g.add("reduce_mean", [x], name="features", axes=[0]))


def kwt_tiny(head: Head, *, width: int = 64, depth: int = 12, mlp: int = 4) -> Graph:
    """Berg et al. 2021: a transformer over the frames of a spectrogram (1, F, T), one head of 64.

    Prunable: the linear layers of the blocks.
    """
    shape = head.input_shape
    if len(shape) != 3 or shape[0] != 1 or width < 1 or depth < 1:
        raise BadInput(
            f"Network '{head.name}' takes spectrograms (1, F, T); the stream's samples have shape {shape}.",
            "Use 'cnn' for images of several channels.",
        )
    norm_kind(head, "none", ("none",))
    g, x = start(head)
    features, frames = shape[1:]
    x = g.add(
        "transpose", [g.add("reshape", [x], name="spectrum", shape=[features, frames])], name="frames", axes=[1, 0]
    )
    x = g.add("linear", [x], name="embed", out=width)
    token = g.add("parameter", [], name="token", shape=[1, width])
    x = g.add("concat", [token, x], name="tokens", axis=0)
    codes = g.add("parameter", [], name="position", shape=[frames + 1, width])
    x = g.add("add", [x, codes], name="placed")
    for i in range(1, depth + 1):
        x = _transformer(g, x, f"b{i}", width, mlp)
    x = g.add("slice", [x], name="first", start=[0, 0], size=[1, width], step=[1, 1])
    return finish(g, head, g.add("reshape", [x], name="features", shape=[width]))


def _transformer(g: GraphBuilder, x: str, at: str, width: int, mlp: int) -> str:
    """Attention of one head and a mixing layer, each normalised behind its sum."""
    tokens = g.shapes[x][0]
    qkv = g.add("linear", [x], name=f"{at}_qkv", out=3 * width, prunable=True)
    q, k, v = (
        g.add("slice", [qkv], name=f"{at}_{n}", start=[0, i * width], size=[tokens, width], step=[1, 1])
        for i, n in enumerate("qkv")
    )
    turned = g.add("transpose", [k], name=f"{at}_k_turned", axes=[1, 0])
    scores = g.add("matmul", [q, turned], name=f"{at}_scores", scale=width**-0.5)
    y = g.add("matmul", [g.add("softmax", [scores], name=f"{at}_weights"), v], name=f"{at}_mixed")
    y = g.add("linear", [y], name=f"{at}_out", out=width, prunable=True)
    x = g.add("layer_norm", [g.add("add", [x, y], name=f"{at}_sum1")], name=f"{at}_norm1", axes=[-1])
    y = g.add("linear", [x], name=f"{at}_mlp1", out=mlp * width, prunable=True)
    y = g.add("linear", [g.add("gelu", [y], name=f"{at}_gelu")], name=f"{at}_mlp2", out=width, prunable=True)
    return g.add("layer_norm", [g.add("add", [x, y], name=f"{at}_sum2")], name=f"{at}_norm2", axes=[-1])
