"""One application of one operator, drawn at random: shapes small and ugly on purpose."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from edgecl.graph import operator


@dataclass
class Case:
    op: str
    shapes: list  # of the inputs, without batch
    attributes: dict
    batch: int
    seed: int

    @property
    def entry(self):
        return operator(self.op)

    def specs(self):
        return self.entry.parameters(self.shapes, self.attributes)

    def arrays(self, dtype=np.float64):
        """(inputs, params): inputs away from the kinks of relu, relu6 and max_pool by distinct values."""
        rng = np.random.default_rng(self.seed)
        inputs = [self._spread(rng, (self.batch, *s)).astype(dtype) for s in self.shapes]
        params = {}
        for name, spec in self.specs().items():
            values = rng.normal(size=spec.shape)
            params[name] = (np.abs(values) + 0.5 if name == "running_var" else values).astype(dtype)
        if self.op == "dropout":
            params["keep"] = rng.random((self.batch, *self.shapes[0])) >= self.attributes["p"]
        return inputs, params

    @staticmethod
    def _spread(rng, shape):
        """Distinct multiples of a step, shifted by half of it: no ties, nothing near 0 or 6."""
        n = int(np.prod(shape))
        values = (rng.permutation(n) - n // 2 + 0.5) * (16.0 / max(n, 16))
        return (values + np.where(np.abs(values - 6) < 1e-3, 0.01, 0)).reshape(shape)


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
    elif op == "linear":
        shapes = [vectors(draw)]
        attributes = {"out": draw(st.integers(1, 7)), "bias": draw(either)}
    elif op in ("avg_pool", "max_pool"):
        attributes = fitting_window(draw, shapes[0], half_kernel_padding=True)
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
    attributes = {**operator(op).optional_attributes, **attributes}
    batch, seed = draw(st.sampled_from([1, 2, 3, 5])), draw(st.integers(0, 2**32 - 1))
    return Case(op, shapes, attributes, batch, seed)
