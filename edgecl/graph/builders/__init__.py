"""Networks by name: `build` makes the graph for a stream's shape and number of classes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from ...errors import BadInput, unknown_name
from ...registry import Registry
from ..graph import Graph, Shape
from ._parts import Head, finish, start
from .cnn import cnn
from .cnn1d import cnn1d
from .cnn221 import cnn221
from .conv_tail import conv_tail
from .ds_cnn import ds_cnn
from .mlp import mlp
from .mobile import efficientnet_lite0, mobilenetv4_conv_small
from .mobilenetv2 import mobilenetv2
from .mobilenetv3 import mobilenetv3_small
from .resnet import resnet18, resnet20
from .series import gru, inceptiontime, kwt_tiny, tcn

__all__ = ["NETWORKS", "Head", "build", "builders", "finish", "start"]

NETWORKS: Registry[Callable[..., Graph]] = Registry("network", "edgecl.networks")
for _name, _make in {
    "mlp": mlp, "cnn": cnn, "resnet20": resnet20, "resnet18": resnet18, "mobilenetv2": mobilenetv2, "cnn1d": cnn1d,
    "ds_cnn": ds_cnn, "cnn221": cnn221, "mobilenetv3_small": mobilenetv3_small, "gru": gru, "kwt_tiny": kwt_tiny,
    "efficientnet_lite0": efficientnet_lite0, "mobilenetv4_conv_small": mobilenetv4_conv_small, "tcn": tcn,
    "inceptiontime": inceptiontime, "conv_tail": conv_tail,
}.items():  # fmt: skip
    NETWORKS.register(_make, name=_name)
HEADS = ("linear", "cosine")


def builders() -> tuple[str, ...]:
    """Names that `build` knows."""
    return NETWORKS.names()


def build(
    name: str,
    input_shape: Shape,
    classes: int,
    *,
    input_dtype: str = "uint8",
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    norm: str | None = None,
    head: str = "linear",
    **options: Any,
) -> Graph:
    """The graph of network ``name`` for samples of ``input_shape`` (without batch) and ``classes`` outputs.

    input_dtype : ``uint8`` or ``float32``, of the raw samples
    mean, std : per channel or one number, in units of the raw input; default 0 and 255 (uint8) or 0 and 1
    norm : ``batch`` or ``group``; default ``batch``, for ``mlp``, ``gru`` and ``kwt_tiny`` none
    head : ``linear`` or ``cosine``: the classifier
    options : of the network: ``hidden``, ``dropout`` (mlp); ``widths``, ``dropout`` (cnn); ``widths``,
        ``kernel`` (cnn1d); ``width`` (resnets, mobilenets 2 and 3, ds_cnn, inceptiontime, tcn, conv_tail,
        kwt_tiny); ``blocks`` (ds_cnn,
        inceptiontime); ``depth`` (tcn, kwt_tiny), ``kernel`` (tcn), ``hidden``, ``layers`` (gru), ``mlp`` (kwt_tiny)

    The first node is ``input_norm``, the last ``logits``; ``graph.notes["features"]`` names the classifier's
    input and ``graph.notes["padded"]`` the zero padding where there is one. Raises `BadInput` on an unknown
    name or option and on a shape that does not suit the network.
    """
    make = NETWORKS.get(name)
    shape = tuple(int(n) for n in input_shape)
    if len(shape) not in (1, 3) or min(shape) < 1:
        raise BadInput(f"Samples of shape {shape} do not suit a network.", "Use (C, H, W), (C, 1, L) or (F,).")
    if classes < 1:
        raise BadInput(f"A network with {classes} outputs is not possible.", "Use at least one class.")
    if head not in HEADS:
        raise unknown_name("head", head, HEADS)
    known = [p.name for p in inspect.signature(make).parameters.values() if p.kind == p.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            raise unknown_name(f"option of network '{name}'", option, known)
    return make(Head(name, shape, int(classes), input_dtype, mean, std, norm, head), **options)
