"""Graph + choices -> plan: backward pass, fusion, lifetimes, one arena, exact FLOPs and bytes."""

from .flops import WeightCost, weight_costs
from .plan import Optimizer, Plan

__all__ = ["Optimizer", "Plan", "WeightCost", "weight_costs"]
