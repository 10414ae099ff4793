"""Shape checks shared by the operators: a refusal names the operator and the shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import BadInput
from ..graph import Shape

MOST_AXES = 6  # of a tensor, beside the batch


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
    """Output height and width of a sliding window.

    floor((size + padding on both sides - extent) / stride) + 1 with an extent of (kernel - 1) * dilation + 1. With
    ``ceil`` rounded up, unless that window would begin in the padding behind the input (torch's rule).
    """
    _, *size = one_map(op, inputs)
    kernel, stride, dilation = attributes["kernel"], attributes["stride"], attributes.get("dilation", [1, 1])
    top, left, bottom, right = four_pads(attributes["padding"])
    if min(*kernel, *stride, *dilation) < 1 or min(top, left, bottom, right) < 0:
        raise refuse(
            op, inputs, f"kernel {kernel}, stride {stride} and padding {attributes['padding']} must be positive"
        )
    out = []
    for n, k, s, d, before, after in zip(size, kernel, stride, dilation, (top, left), (bottom, right)):
        free = n + before + after - ((k - 1) * d + 1)
        if free < 0:
            raise refuse(op, inputs, f"the kernel {kernel} is larger than the padded input")
        count = (-(-free // s) if attributes.get("ceil") else free // s) + 1
        out.append(count - (attributes.get("ceil", False) and (count - 1) * s >= n + before))
    return out[0], out[1]


def four_pads(padding: Sequence[int]) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) of a padding of two numbers (both sides of height and width) or of these four."""
    top, left, *rest = padding
    bottom, right = rest or (top, left)
    return top, left, bottom, right


def any_input(op: str, inputs: Sequence[Shape]) -> Shape:
    """The single input, of any rank up to `MOST_AXES`."""
    if len(inputs) != 1 or len(inputs[0]) > MOST_AXES or (inputs[0] and min(inputs[0]) < 1):
        raise refuse(op, inputs, f"it takes one tensor of at most {MOST_AXES} axes")
    return inputs[0]


def axis_of(op: str, inputs: Sequence[Shape], axis: int) -> int:
    """``axis`` of the first input counted from its first one."""
    rank = len(inputs[0])
    if not -rank <= axis < rank:
        raise refuse(op, inputs, f"there is no axis {axis}")
    return axis % rank


def broadcast(op: str, inputs: Sequence[Shape]) -> Shape:
    """The shape that all inputs are repeated to, aligned at their last axes."""
    rank = max(len(s) for s in inputs)
    padded = [(1,) * (rank - len(s)) + tuple(s) for s in inputs]
    out = tuple(max(sizes) for sizes in zip(*padded))
    if rank > MOST_AXES or any(n not in (1, m) for s in padded for n, m in zip(s, out)):
        raise refuse(op, inputs, "their shapes do not fit together")
    return out


def aligned(x, rank: int):
    """An array [B, ...] with axes of size 1 behind the batch, so that it has ``rank`` axes beside it."""
    return x.reshape(x.shape[:1] + (1,) * (rank - (x.ndim - 1)) + x.shape[1:])


def summed_to(grad, shape: tuple[int, ...]):
    """The gradient of an array of ``shape`` [B or 1, ...] that was repeated to that of ``grad``."""
    grown = shape[:1] + (1,) * (grad.ndim - len(shape)) + shape[1:]
    axes = tuple(i for i, (a, b) in enumerate(zip(grown, grad.shape)) if a == 1 and b != 1)
    return grad.sum(axes, keepdims=True).reshape(shape) if axes else grad.reshape(shape)
