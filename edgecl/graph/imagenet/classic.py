"""VGG-16 (Simonyan 2015) and SqueezeNet 1.1 (Iandola 2016)."""

from __future__ import annotations

from ..graph import Graph
from ._parts import conv, finish, max_pool, start


def vgg16(name: str, classes: int, size: int) -> Graph:
    g, x = start(name, size)
    for stage, (width, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), 1):
        for i in range(1, count + 1):
            x = conv(g, x, f"s{stage}c{i}", width, 3, bias=True, prunable=stage + i > 2)
            x = g.add("relu", [x], name=f"s{stage}c{i}_act")
        x = max_pool(g, x, f"pool{stage}", 2, 2)
    x = g.add("flatten", [x], name="flat")
    for i in (1, 2):
        x = g.add("linear", [x], name=f"fc{i}", out=4096, bias=True)
        x = g.add("relu", [x], name=f"fc{i}_act")
    return finish(g, x, classes)


def squeezenet(name: str, classes: int, size: int) -> Graph:
    g, x = start(name, size)
    x = conv(g, x, "stem", 64, 3, 2, padding=0, bias=True, prunable=False)
    x = max_pool(g, g.add("relu", [x], name="stem_act"), "pool1", 3, 2)
    for i, width in enumerate((16, 16, 32, 32, 48, 48, 64, 64), 2):
        s = g.add("relu", [conv(g, x, f"fire{i}_squeeze", width, bias=True)], name=f"fire{i}_squeeze_act")
        parts = [conv(g, s, f"fire{i}_expand{k}", 4 * width, k, bias=True) for k in (1, 3)]
        parts = [g.add("relu", [p], name=f"{p}_act") for p in parts]
        x = g.add("concat", parts, name=f"fire{i}")
        if i in (3, 5):
            x = max_pool(g, x, f"pool{i}", 3, 2)
    x = g.add("relu", [conv(g, x, "classes", classes, bias=True)], name="classes_act")
    return g.build(g.add("global_avg_pool", [x], name="logits"))
