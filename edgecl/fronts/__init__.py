"""Fronts: what stands before the network that learns. The contract is `base`; one front a file."""

from .audio import LogMel
from .backbone import Backbone
from .base import ROWS, Front
from .inertial import Window
from .registry import FRONTS

__all__ = ["FRONTS", "ROWS", "Backbone", "Front", "LogMel", "Window"]
