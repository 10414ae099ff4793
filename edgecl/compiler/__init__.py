"""Graph + choices -> plan: backward pass, fusion, lifetimes, one arena, exact FLOPs and bytes."""

from .compile import compile_plan, row_cost
from .flops import WeightCost, weight_costs
from .plan import Optimizer, Plan

__all__ = ["Optimizer", "Plan", "WeightCost", "compile_plan", "row_cost", "weight_costs"]
