"""Device profiles, the cost model, and the calibration of this machine."""

from .cost import CostModel, StepCost, warmed
from .frameworks import EAGER_TORCH, NCNN, Family
from .profile import Cluster, Figure, Profile, list_profiles, load_profile
from .workload import Operation, operations

__all__ = [
    "EAGER_TORCH",
    "NCNN",
    "Cluster",
    "CostModel",
    "Family",
    "Figure",
    "Operation",
    "Profile",
    "StepCost",
    "list_profiles",
    "load_profile",
    "operations",
    "warmed",
]
