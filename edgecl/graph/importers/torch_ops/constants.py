"""Tensors that are made of nothing, of torch, and nodes that only assert."""

from __future__ import annotations

import numpy as np

from ..emit import Emit
from ..foreign import Value
from .registry import Call, as_value, aten


@aten("zeros", "ones", "full", "new_zeros", "new_ones", "new_full", "zeros_like", "ones_like", "full_like", "empty")
def _filled(emit: Emit, c: Call) -> Value:
    shape = emit.foreign(as_value(c["self"])) if c.op.endswith("like") else [int(n) for n in c["size"]]
    value = 1.0 if "ones" in c.op else float(c["fill_value"]) if "full" in c.op else 0.0
    return np.broadcast_to(np.float32(value), shape)


@aten("arange")
def _arange(emit: Emit, c: Call) -> Value:
    return np.arange(c.get("start", 0) or 0, c["end"], c.get("step", 1) or 1)


@aten("scalar_tensor")
def _scalar_tensor(emit: Emit, c: Call) -> Value:
    return np.array(c["s"], np.float32)


@aten("_assert_tensor_metadata", "_assert_scalar", "sym_constrain_range_for_size")
def _nothing(emit: Emit, c: Call) -> None:
    return None
