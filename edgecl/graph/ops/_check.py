"""Shape checks shared by the operators: a refusal names the operator and the shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import BadInput
from ..graph import Shape


def refuse(op: str, inputs: Sequence[Shape], why: str, remedy: str = "Change the layer or the input size.") -> BadInput:
    shapes = ", ".join(str(tuple(s)) for s in inputs)
    return BadInput(f"Operator '{op}' does not take inputs of shape {shapes}: {why}.", remedy)


def one_input(op: str, inputs: Sequence[Shape]) -> Shape:
    """The single input, of rank 1 (vector) or 3 (map)."""
    if len(inputs) != 1 or len(inputs[0]) not in (1, 3) or min(inputs[0]) < 1:
        raise refuse(op, inputs, "it takes one map (C, H, W) or one vector (F,)")
    return inputs[0]


def one_map(op: str, inputs: Sequence[Shape]) -> Shape:
    if len(inputs) != 1 or len(inputs[0]) != 3 or min(inputs[0]) < 1:
        raise refuse(op, inputs, "it takes one map (C, H, W)")
    return inputs[0]


def window(op: str, inputs: Sequence[Shape], attributes: Mapping[str, Any]) -> tuple[int, int]:
    """Output height and width of a sliding window, floor((size + 2*padding - kernel) / stride) + 1."""
    _, *size = one_map(op, inputs)
    kernel, stride, padding = attributes["kernel"], attributes["stride"], attributes["padding"]
    if min(*kernel, *stride) < 1 or min(padding) < 0:
        raise refuse(op, inputs, f"kernel {kernel}, stride {stride} and padding {padding} must be positive")
    out = [(n + 2 * p - k) // s + 1 for n, k, s, p in zip(size, kernel, stride, padding)]
    if min(n + 2 * p - k for n, k, p in zip(size, kernel, padding)) < 0:
        raise refuse(op, inputs, f"the kernel {kernel} is larger than the padded input")
    return out[0], out[1]
