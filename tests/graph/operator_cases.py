"""One application of one operator, drawn at random: shapes small and ugly on purpose."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from edgecl.graph import operator
from edgecl.graph.ops.arithmetic import TABLE as ARITHMETIC
from edgecl.testing import OperatorCase

POSITIVE = ("sqrt", "log", "power", "reciprocal")


@dataclass
class Case(OperatorCase):
    """Inputs in the range that the operator called ``op`` takes."""

    op: str = ""

    @property
    def entry(self):
        return operator(self.op)

    def inputs(self, rng):
        inputs = super().inputs(rng)
        if self.op in POSITIVE:
            inputs[0] = np.abs(inputs[0]) + 0.25
        if self.op in ("div", "pow", "floor_mod", "trunc_mod"):
            inputs = [np.abs(x) % 2 + 0.3 for x in inputs]
        if self.op == "reduce_prod":
            inputs = [np.sign(x) * (np.abs(x) % 1 + 0.5) for x in inputs]
        return inputs

    def params(self, entry, rng):
        found = super().params(entry, rng)
        if self.op == "dropout":
            found["keep"] = rng.random((self.batch, *self.shapes[0])) >= self.attributes["p"]
        return found


def maps(draw, channels=None):
    height = draw(st.sampled_from([1, 1, 2, 3, 5, 7, 8]))
    return (channels or draw(st.integers(1, 6)), height, draw(st.integers(1, 9)))


def vectors(draw):
    return (draw(st.integers(1, 9)),)


def fitting_window(draw, shape, half_kernel_padding=False):
    """Kernel, stride (possibly above the kernel) and padding that fit the map."""
    kernel, stride, padding = [], [], []
    for size in shape[1:]:
        k = draw(st.integers(1, min(5, size + 2)))
        smallest = max(0, -(-(k - size) // 2))
        largest = k // 2 if half_kernel_padding else 3
        while smallest > largest:
            k -= 1
            smallest, largest = max(0, -(-(k - size) // 2)), k // 2
        kernel.append(k)
        padding.append(draw(st.integers(smallest, largest)))
        stride.append(draw(st.integers(1, 4)))
    return {"kernel": kernel, "stride": stride, "padding": padding}


OLD = (
    "conv2d", "linear", "avg_pool", "max_pool", "global_avg_pool", "add", "dropout", "group_norm", "relu", "relu6",
    "batch_norm", "flatten",
)  # fmt: skip


def tensors(draw, least=0, most=4):
    """A shape of any rank."""
    return tuple(draw(st.integers(1, 4)) for _ in range(draw(st.integers(least, most))))


def general(draw, op):
    """Input shapes and attributes of the operators on tensors of any rank."""
    shape = tensors(draw)
    if op in ARITHMETIC:
        cut = draw(st.integers(0, len(shape)))
        other = tuple(n if draw(st.booleans()) else 1 for n in shape[cut:])
        pair = [shape, other] if draw(st.booleans()) else [other, shape]
        return (pair if op != "where" else [shape, *pair]), {}
    if op in ("softmax", "log_softmax", "concat", "resample"):
        shape = tensors(draw, least=1)
        chosen = draw(st.integers(-len(shape), len(shape) - 1))
        if op == "resample":
            rows = draw(st.lists(st.lists(st.integers(0, shape[chosen] - 1), max_size=3), min_size=1, max_size=4))
            return [shape], {"axis": chosen, "columns": rows, "weights": [[0.5 + j for j in r] for r in rows]}
        if op == "concat":
            other = list(shape)
            other[chosen] = draw(st.integers(1, 3))
            return [shape, tuple(other), shape], {"axis": chosen}
        return [shape], {"axis": chosen}
    if op.startswith("reduce_") or op in ("log_sum_exp", "unit_norm", "argmax"):
        shape = tensors(draw, least=1)
        axes = draw(st.lists(st.integers(0, len(shape) - 1), unique=True, min_size=1, max_size=3))
        keep = {} if op == "unit_norm" else {"keep": draw(st.booleans())}
        return [shape], {"axes": axes[:1] if op == "argmax" else axes, **keep}
    if op in ("layer_norm", "rms_norm"):
        shape = (*tensors(draw, most=2), 3, draw(st.integers(2, 4)))
        return [shape], {"axes": draw(st.sampled_from([[-1], [-2, -1], [0, -1]]))}
    if op == "matmul":
        m, k, n = (draw(st.integers(1, 5)) for _ in range(3))
        front = tensors(draw, most=2)
        other = front if draw(st.booleans()) else tuple(1 for _ in front)
        return [(*front, m, k), (*other, k, n)], {"scale": draw(st.sampled_from([1.0, 0.4]))}
    if op == "transpose":
        return [shape], {"axes": draw(st.permutations(range(len(shape))))}
    if op == "reshape":
        return [shape], {"shape": [int(np.prod(shape)), 1] if draw(st.booleans()) else list(reversed(shape))}
    if op == "expand":
        grown = tuple(n if n > 1 else draw(st.integers(1, 3)) for n in shape)
        return [shape], {"shape": [*tensors(draw, most=1), *grown]}
    if op == "slice":
        step = [draw(st.sampled_from([1, 1, 2, -1])) for _ in shape]
        start = [draw(st.integers(0, n - 1)) for n in shape]
        size = [1 + (n - 1 - a if s > 0 else a) // abs(s) for n, a, s in zip(shape, start, step)]
        return [shape], {"start": start, "size": [draw(st.integers(1, m)) for m in size], "step": step}
    if op == "pad":
        sides = {k: [draw(st.integers(0, 2)) for _ in shape] for k in ("before", "after")}
        return [shape], {**sides, "value": draw(st.sampled_from([0.0, 0.7]))}
    if op == "parameter":
        return [], {"shape": list(shape), "trained": draw(st.booleans())}
    if op in ("lstm", "gru", "rnn"):
        hidden = draw(st.integers(1, 4))
        gates = {"lstm": 4, "gru": 3, "rnn": 1}[op]
        more = {"reset_after": draw(st.booleans())} if op == "gru" else {}
        return [(draw(st.integers(1, 5)), gates * hidden)], {"hidden": hidden, "reverse": draw(st.booleans()), **more}
    if op == "channel_scale":
        shape = maps(draw)
        return [shape, shape[:1]], {}
    if op == "conv_transpose2d":
        groups = draw(st.integers(1, 2))
        kernel = [draw(st.integers(2, 3)) for _ in range(2)]
        return [maps(draw, groups * draw(st.integers(1, 3)))], {
            "out": groups * draw(st.integers(1, 3)), "kernel": kernel, "groups": groups, "bias": draw(st.booleans()),
            "stride": [draw(st.integers(1, 3)) for _ in range(2)], "dilation": [draw(st.integers(1, 2)), 1],
            "padding": draw(st.sampled_from([[0, 0], [0, 0, 1, 1], [1, 0, 0, 0]])), "output_padding": [1, 0],
        }  # fmt: skip
    return [shape], {}


@st.composite
def cases(draw, op):
    attributes = {}
    shapes = [maps(draw)]
    either = st.booleans()
    if op == "conv2d":
        kind = draw(st.sampled_from(["plain", "grouped", "depthwise", "one_d"]))
        groups = 1 if kind in ("plain", "one_d") else draw(st.integers(2, 4))
        channels = groups * (1 if kind == "depthwise" else draw(st.integers(1, 4)))
        shape = maps(draw, channels)
        shapes = [(channels, 1, shape[2]) if kind == "one_d" else shape]
        attributes = {
            "out": groups * draw(st.integers(1, 3)),
            "groups": groups,
            "bias": draw(either),
            **fitting_window(draw, shapes[0]),
        }
        if draw(st.booleans()):  # more behind the map than before it, and taps apart
            attributes["padding"] = [
                *attributes["padding"],
                *(p + draw(st.integers(0, 2)) for p in attributes["padding"]),
            ]
            attributes["padding"][2] += attributes["kernel"][0]
            attributes["dilation"] = [2 if attributes["kernel"][0] > 1 else 1, 1]
    elif op == "linear":
        shapes = [(*tensors(draw, most=2), *vectors(draw))]
        attributes = {"out": draw(st.integers(1, 7)), "bias": draw(either)}
    elif op in ("avg_pool", "max_pool"):
        attributes = fitting_window(draw, shapes[0], half_kernel_padding=True)
        attributes["ceil"] = draw(either)
        if op == "avg_pool":
            attributes["count_include_pad"] = draw(either)
    elif op == "add":
        shapes = shapes * 2
    elif op == "dropout":
        attributes = {"p": draw(st.sampled_from([0.0, 0.3, 0.9]))}
    elif op == "group_norm":
        groups = draw(st.integers(1, 3))
        shapes = [maps(draw, groups * draw(st.integers(1, 3)))]
        attributes = {"groups": groups}
    if op in ("relu", "relu6", "batch_norm", "flatten", "dropout") and draw(either):
        shapes = [vectors(draw)]
    elif op not in OLD:
        shapes, attributes = general(draw, op)
    attributes = {**operator(op).optional_attributes, **attributes}
    batch, seed = draw(st.sampled_from([1, 2, 3, 5])), draw(st.integers(0, 2**32 - 1))
    return Case(shapes, attributes, batch, seed, op)
