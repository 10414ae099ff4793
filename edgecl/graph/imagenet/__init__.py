"""Published networks in their ImageNet form (timm's and torchvision's layers), for the cost model.

The resnets, mobilenetv1, mobilenetv2 and vgg16 consist of operators that also train; the others hold operators that
have a cost but no kernel, and an engine refuses them by name. Multiply-adds agree with timm's table (tested).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ...errors import unknown_name
from ..graph import Graph
from .classic import squeezenet, vgg16
from .efficientvit import efficientvit_b1
from .mobile import mnasnet, mobilenetv1, mobilenetv2, mobilenetv3_large, mobilenetv3_small
from .resnet import resnet18, resnet34, resnet50
from .vit import vit

__all__ = ["imagenet", "imagenet_names"]

_NETWORKS: dict[str, Callable[[str, int, int], Graph]] = {
    "resnet18_imagenet": resnet18,
    "resnet34": resnet34,
    "resnet50": resnet50,
    "mobilenetv1": mobilenetv1,
    "mobilenetv2_100": partial(mobilenetv2, width=1.0),
    "mobilenetv2_050": partial(mobilenetv2, width=0.5),
    "mobilenetv3_large": mobilenetv3_large,
    "mobilenetv3_small": mobilenetv3_small,
    "mnasnet": mnasnet,
    "squeezenet": squeezenet,
    "vgg16": vgg16,
    "vit_tiny": partial(vit, dim=192, heads=3),
    "vit_small": partial(vit, dim=384, heads=6),
    "vit_base": partial(vit, dim=768, heads=12),
    "efficientvit_b1": efficientvit_b1,
}


def imagenet_names() -> tuple[str, ...]:
    """Names that `imagenet` knows."""
    return tuple(_NETWORKS)


def imagenet(name: str, classes: int = 1000, size: int = 224) -> Graph:
    """Network ``name`` for float32 images (3, size, size) and ``classes`` outputs. Raises BadInput."""
    if name not in _NETWORKS:
        raise unknown_name("network", name, _NETWORKS)
    return _NETWORKS[name](name, classes, size)
