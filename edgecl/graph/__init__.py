"""The model as data: nodes over named tensors, one registry entry per operator, builders."""

from .builder import GraphBuilder
from .graph import Graph, Node, ParameterSpec
from .registry import Operator, operator, operators

__all__ = ["Graph", "GraphBuilder", "Node", "Operator", "ParameterSpec", "operator", "operators"]
