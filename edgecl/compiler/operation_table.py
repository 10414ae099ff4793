"""The table of operations that a lowered program is made of: number, arguments, which of them are maps.

What else knows about operations is derived from it: the codes and masks in `operations`, the kinds of `engine.profile`,
and the header `operations.h` (``enum class Code``, argument positions by name) that CMake writes with this file when it
builds the kernels. It therefore imports nothing but the standard library.
"""

from __future__ import annotations

import sys
from typing import NamedTuple


class Operation(NamedTuple):
    """One row. ``arguments`` by position; one whose name ends in ``...`` stands for all that follow.

    maps : arguments that are maps which may wait for the backward pass in 16 bits (see saved.py)
    writes : the map it writes, or for gradients of weights, biases and norms, reads
    """

    name: str
    code: int
    arguments: tuple[str, ...]
    maps: tuple[int, ...]
    writes: int


TABLE: dict[int, Operation] = {}


def _operation(code: int, name: str, arguments: str, *, maps: str, writes: str) -> int:
    names = tuple(arguments.split())
    TABLE[code] = Operation(name, code, names, tuple(names.index(m) for m in maps.split()), names.index(writes))
    return code


# Forward. `activation` is a code of fusion.py; a map or norm of -1 is absent.
CONV = _operation(0, "CONV", "weight x y stats_norm", maps="x y", writes="y")
STATS = _operation(1, "STATS", "norm y", maps="y", writes="y")
AFFINE = _operation(2, "AFFINE", "z activation a norm_a b norm_b", maps="z a b", writes="z")
GROUP_NORM = _operation(3, "GROUP_NORM", "norm x y", maps="x y", writes="y")
COPY = _operation(4, "COPY", "y x factor accumulate", maps="y x factor", writes="y")
POOL = _operation(
    5, "POOL", "x y kernel_h kernel_w stride_h stride_w pad_h pad_w maximum", maps="x y", writes="y"
)  # fmt: skip
# The map's halo becomes zero; `edges`: only before and after the interior (in runs it is between the rows).
HALO = _operation(6, "HALO", "map edges", maps="map", writes="map")
# As AFFINE, with the statistics of the forward pass.
AFFINE_AGAIN = _operation(7, "AFFINE_AGAIN", "z activation a norm_a b norm_b", maps="z a b", writes="z")
# A norm's scales, for what reads y through it.
NORM = _operation(8, "NORM", "norm y", maps="y", writes="y")
# Convolutions that read x through a norm.
DEPTH = _operation(9, "DEPTH", "weight x y stats_norm norm activation", maps="x y", writes="y")
POINT = _operation(10, "POINT", "weight x y stats_norm norm activation", maps="x y", writes="y")
# x cut into phases of `rows` rows (runs.h).
SPLIT = _operation(11, "SPLIT", "weight x phases rows", maps="x phases", writes="phases")
# The map in bfloat16 without halo; made by saved.py itself.
SAVE = _operation(12, "SAVE", "map saved", maps="", writes="map")
# CONV and AFFINE of a prediction in one.
CONV_AFFINE = _operation(13, "CONV_AFFINE", "weight x z activation norm_y b norm_b", maps="", writes="z")

# Backward.
CONV_WEIGHT = _operation(16, "CONV_WEIGHT", "weight x dy", maps="x dy", writes="dy")
CONV_INPUT = _operation(
    17, "CONV_INPUT", "weight dy dx accumulate mask activation z y norm", maps="dy dx z y", writes="dx"
)  # fmt: skip
MASK = _operation(18, "MASK", "gradient activation z y norm", maps="gradient z y", writes="gradient")
NORM_INPUT = _operation(19, "NORM_INPUT", "norm dx dy y accumulate", maps="dx dy y", writes="dx")
GROUP_NORM_INPUT = _operation(20, "GROUP_NORM_INPUT", "norm dx dy x accumulate", maps="dx dy x", writes="dx")
POOL_INPUT = _operation(
    21, "POOL_INPUT", "dx dy kernel_h kernel_w stride_h stride_w pad_h pad_w maximum x accumulate",
    maps="dx dy x", writes="dx",
)  # fmt: skip
BIAS = _operation(22, "BIAS", "parameter dy", maps="dy", writes="dy")
# Gradients of a norm's parameters, and coefficients for what reads its input's gradient.
NORM_GRADIENT = _operation(23, "NORM_GRADIENT", "norm y", maps="y", writes="y")
# Both gradients of a convolution that reads x through `norm`, and its gradient through `norm_g` of `y_g`; dx may be
# absent. `mask` and what follows as in CONV_INPUT.
_BOTH = "weight x norm activation gradient norm_g y_g dx accumulate mask mask_activation y mask_norm"
DEPTH_BACKWARD = _operation(24, "DEPTH_BACKWARD", _BOTH, maps="x gradient y_g dx y", writes="x")
POINT_BACKWARD = _operation(25, "POINT_BACKWARD", _BOTH, maps="x gradient y_g dx y", writes="x")
MERGE = _operation(26, "MERGE", "weight phases dx rows accumulate", maps="phases dx", writes="dx")
RESTORE = _operation(27, "RESTORE", "saved map", maps="", writes="map")

# Tensor operations (kernels/tensor.h). `spec` describes the axes of the iteration and a view of each operand, see
# views.py; `begin`: the output's halo is cleared (1), or all of it filled with what `combine` starts from (2).
EACH = _operation(
    32, "EACH", "out a b c d function combine begin alpha beta spec...", maps="out a b c d", writes="out"
)  # fmt: skip
LINES = _operation(
    33, "LINES", "out a b c d function combine begin alpha line spec...", maps="out a b c d", writes="out"
)  # fmt: skip
PRODUCT = _operation(34, "PRODUCT", "out a b combine begin alpha spec...", maps="out a b", writes="out")
RESAMPLE = _operation(35, "RESAMPLE", "out x combine begin spec...", maps="out x", writes="out")
RESHAPE = _operation(36, "RESHAPE", "out x accumulate", maps="out x", writes="out")
_RECUR = "x y kept cell weight bias gates reverse reset_after"
RECUR = _operation(37, "RECUR", _RECUR, maps="x y kept cell", writes="y")
RECUR_BACK = _operation(
    38, "RECUR_BACK", _RECUR + " dy dx dproduct", maps="x y kept cell dy dx dproduct", writes="dx"
)  # fmt: skip

# Functions of tensor operations, numbered in this order (kernels/functions.h). The first have a derivative of the same
# name with d_ in front, of (gradient, output or input).
UNARY = [
    "identity",
    "neg",
    "abs",
    "square",
    "sqrt",
    "exp",
    "log",
    "reciprocal",
    "floor",
    "ceil",
    "round",
    "sign",
    "sin",
    "cos",
    "erf",
    "logical_not",
    "scale_shift",
    "power",
    "relu",
    "clip",
    "leaky_relu",
    "thresholded_relu",
    "elu",
    "selu",
    "celu",
    "sigmoid",
    "hard_sigmoid",
    "hard_swish",
    "silu",
    "mish",
    "gelu",
    "gelu_tanh",
    "tanh",
    "softplus",
    "softsign",
]
NARY = [
    "add",
    "sub",
    "mul",
    "div",
    "pow",
    "minimum",
    "maximum",
    "floor_mod",
    "trunc_mod",
    "less",
    "less_equal",
    "greater",
    "greater_equal",
    "equal",
    "logical_and",
    "logical_or",
    "logical_xor",
    "prelu",
    "where",
    "d_div_b",
    "d_pow_a",
    "d_pow_b",
    "d_minimum",
    "d_maximum",
    "d_prelu_a",
    "d_prelu_b",
    "d_where_b",
    "d_where_c",
]
LINE = [
    "softmax",
    "d_softmax",
    "log_softmax",
    "d_log_softmax",
    "log_sum_exp",
    "d_log_sum_exp",
    "standardise",
    "d_standardise",
    "scale_gradient",
    "rms",
    "d_rms",
    "rms_scale_gradient",
    "unit",
    "d_unit",
    "line_max",
    "d_line_max",
    "line_min",
    "d_line_min",
    "line_argmax",
    "line_prod",
    "d_line_prod",
]
FUNCTIONS: dict[str, int] = {name: code for code, name in enumerate([*UNARY, *(f"d_{n}" for n in UNARY), *NARY, *LINE])}


def header() -> str:
    """The C++ header: the codes, and for each operation the position of its arguments."""
    lines = [
        "// Written by edgecl/compiler/operation_table.py at build time.",
        "#pragma once",
        "",
        "namespace edgecl {",
        "",
    ]
    lines.append("enum class Code : int {")
    lines += [f"  {o.name} = {o.code}," for o in TABLE.values()]
    lines += ["};", "", "// Where the arguments of an operation stand.", "namespace args {"]
    for o in TABLE.values():
        names = ", ".join(f"{n.removesuffix('...')}" for n in o.arguments)
        lines.append(f"struct {o.name} {{ enum : int {{ {names} }}; }};")
    names = ", ".join(FUNCTIONS)
    lines += [
        "} // namespace args",
        "",
        f"enum class Function : int {{ {names}, COUNT }};",
        "",
        "} // namespace edgecl",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        file.write(header())
