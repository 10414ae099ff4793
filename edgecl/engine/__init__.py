"""Runs a plan: `native` on the compiled kernels, `torch` as the optional oracle of the tests."""

from .base import Engine, Gradients, Meters
from .model import Model, Parameter

__all__ = ["Engine", "Gradients", "Meters", "Model", "Parameter"]
