"""Device profiles, the cost model, and the calibration of this machine."""

from .cost import CostModel, OperationCost, StepCost
from .profile import Cluster, Figure, Profile, list_profiles, load_profile

__all__ = [
    "Cluster",
    "CostModel",
    "Figure",
    "OperationCost",
    "Profile",
    "StepCost",
    "list_profiles",
    "load_profile",
]
