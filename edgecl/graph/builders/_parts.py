"""What the builders share: first and last node, convolution, normalisation, shape checks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import BadInput
from ..builder import GraphBuilder
from ..graph import Graph, Shape


@dataclass(frozen=True)
class Head:
    """What every builder is given: the stream's side of the network.

    mean, std : per channel (or one for all), in units of the raw input; default 0 and 255 for uint8,
        0 and 1 for float32
    norm : ``batch``, ``group`` or, where a network can do without, ``none``; None: the network's own default
    head : ``linear`` or ``cosine``
    """

    name: str
    input_shape: Shape
    classes: int
    input_dtype: str
    mean: Sequence[float] | float | None
    std: Sequence[float] | float | None
    norm: str | None
    head: str = "linear"


def start(head: Head, pad: int = 0) -> tuple[GraphBuilder, str]:
    """The builder and the normalised input, ``input_norm``."""
    g = GraphBuilder(head.name, head.input_shape, head.input_dtype)
    channels = head.input_shape[0]
    std_default = 255.0 if head.input_dtype == "uint8" else 1.0
    x = g.add(
        "normalise",
        [g.input],
        name="input_norm",
        mean=_per_channel(head.mean, 0.0, channels),
        std=_per_channel(head.std, std_default, channels),
        pad=pad,
    )
    if pad:
        g.notes["padded"] = {"from": list(head.input_shape), "to": list(g.shapes[x])}
    return g, x


def finish(g: GraphBuilder, head: Head, features: str) -> Graph:
    """The dense classifier ``logits`` on the vector ``features``.

    ``cosine`` (Gidaris and Komodakis 2018; Hou et al. 2019): logit c is scale * cos(features, weight c), with one scale
    that is learned.
    """
    g.notes["features"] = features
    if head.head == "cosine":
        return g.build(_cosine(g, head, features))
    return g.build(g.add("linear", [features], name="logits", out=head.classes, bias=True))


def _cosine(g: GraphBuilder, head: Head, features: str) -> str:
    (width,) = g.shapes[features]
    x = g.add("unit_norm", [features], name="logits_features")
    x = g.add("reshape", [x], name="logits_row", shape=[1, width])
    weight = g.add("parameter", [], name="logits_weight", shape=[head.classes, width], init="kaiming_uniform")
    weight = g.add("unit_norm", [weight], name="logits_units", axes=[-1])
    turned = g.add("transpose", [weight], name="logits_turned", axes=[1, 0])
    x = g.add("matmul", [x, turned], name="logits_cosine")
    x = g.add("reshape", [x], name="logits_cosines", shape=[head.classes])
    return g.add("mul", [x, g.add("parameter", [], name="logits_scale", shape=[1], init="ones")], name="logits")


def conv(
    g: GraphBuilder,
    x: str,
    name: str,
    out: int,
    kernel: tuple[int, int] = (3, 3),
    stride: tuple[int, int] = (1, 1),
    *,
    groups: int = 1,
    prunable: bool = False,
    padding: tuple[int, int] | None = None,
) -> str:
    """Bias-free convolution, by default padded to keep the size at stride 1."""
    pads = [k // 2 for k in kernel] if padding is None else list(padding)
    return g.add(
        "conv2d", [x], name=name, out=out, kernel=list(kernel), stride=list(stride), padding=pads,
        groups=groups, bias=False, prunable=prunable,
    )  # fmt: skip


def norm(g: GraphBuilder, x: str, name: str, kind: str) -> str:
    """Batch or group normalisation; groups of C/8 channels (fewer groups where 8 does not divide C)."""
    if kind == "none":
        return x
    if kind == "batch":
        return g.add("batch_norm", [x], name=name)
    return g.add("group_norm", [x], name=name, groups=math.gcd(g.shapes[x][0], 8))


def norm_kind(head: Head, default: str, allowed: Sequence[str] = ("batch", "group")) -> str:
    kind = default if head.norm is None else head.norm
    if kind not in allowed:
        raise BadInput(f"Normalisation '{kind}' is not possible in '{head.name}'.", f"Use {' or '.join(allowed)}.")
    return kind


def require_map(head: Head, smallest: int) -> None:
    """Refuse inputs that are not images of at least ``smallest`` x ``smallest``."""
    shape = head.input_shape
    if len(shape) != 3 or min(shape[1:]) < smallest:
        raise BadInput(
            f"Network '{head.name}' takes images (C, H, W) of at least {smallest}x{smallest}; "
            f"the stream's samples have shape {shape}.",
            "Use 'cnn1d' for windows (C, 1, L) and 'mlp' for anything else.",
        )


def pad_to_32(head: Head) -> int:
    """Pixels to add on each side: 28x28 becomes 32x32, other sizes stay."""
    return 2 if tuple(head.input_shape[1:]) == (28, 28) else 0


def _per_channel(value: Sequence[float] | float | None, default: float, channels: int) -> list[float]:
    if value is None:
        value = default
    if isinstance(value, (int, float)):
        return [float(value)] * channels
    values = [float(v) for v in value]
    return values * channels if len(values) == 1 else values
