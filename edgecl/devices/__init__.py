"""Device profiles, the cost model, and the calibration of this machine."""

from .cost import CostModel, StepCost, warmed
from .figures import Cluster, Figure, Profile
from .frameworks import EAGER_TORCH, LATER_TORCH, NCNN, Family
from .load import load_profile
from .profile import list_profiles
from .workload import Operation, operations

__all__ = [
    "EAGER_TORCH",
    "LATER_TORCH",
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
