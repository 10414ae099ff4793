"""Importing this package registers every operator."""

from . import activation, add, conv2d, cost_only, dropout, flatten, linear, norm, normalise, pool

__all__ = ["activation", "add", "conv2d", "cost_only", "dropout", "flatten", "linear", "norm", "normalise", "pool"]
