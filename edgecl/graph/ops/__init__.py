"""Importing this package registers every operator."""

from . import (
    activation,
    arithmetic,
    conv2d,
    conv_transpose,
    cost_only,
    dropout,
    flatten,
    functions,
    linear,
    matmul,
    norm,
    normalise,
    parameter,
    pool,
    recurrent,
    reduce,
    shapes,
    token_norm,
)  # fmt: skip

__all__ = [
    "activation", "arithmetic", "conv2d", "conv_transpose", "cost_only", "dropout", "flatten", "functions", "linear",
    "matmul", "norm", "normalise", "parameter", "pool", "recurrent", "reduce", "shapes", "token_norm",
]  # fmt: skip
