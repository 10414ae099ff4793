"""Arithmetic of one tensor with one number, which is a function of the tensor; both importers write it so."""

from __future__ import annotations

import numpy as np

from .emit import Emit
from .foreign import Data, Value


def affine(emit: Emit, name: str, values: list[Value]) -> Value | None:
    """Sums and products with one number are a function of one tensor."""
    a, b = values
    for x, c, right in ((a, b, True), (b, a, False)):
        if (
            isinstance(x, Data)
            and isinstance(c, np.ndarray)
            and c.size == 1
            and c.ndim <= x.rank
            and name in ("add", "sub", "mul", "div")
        ):
            v = float(c.ravel()[0])
            if name == "div" and not right:
                y = emit.function("reciprocal", x)
                return y if v == 1 else emit.function("scale_shift", y, scale=v, shift=0.0)
            scale, shift = {
                "add": (1.0, v), "mul": (v, 0.0), "sub": (1.0, -v) if right else (-1.0, v),
                "div": (1 / v if v else np.inf, 0.0),
            }[name]  # fmt: skip
            if not np.isfinite([scale, shift]).all():
                return None
            return emit.function("scale_shift", x, scale=float(scale), shift=float(shift))
    return None
