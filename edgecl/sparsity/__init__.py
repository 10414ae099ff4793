"""Which weights live (TDM, static) and which living weights get a gradient (DGM)."""

from .allocation import allocate, erk, uniform
from .base import Importances, SparsityPolicy, StepInfo, Update
from .dgm import DGM
from .make import make_sparse_training
from .masks import exact_count, grow_at_random, magnitude_pattern, top_k
from .static import Static
from .tdm import TDM
from .training import SparseTraining

__all__ = [
    "DGM",
    "TDM",
    "Importances",
    "SparseTraining",
    "SparsityPolicy",
    "Static",
    "StepInfo",
    "Update",
    "allocate",
    "erk",
    "exact_count",
    "grow_at_random",
    "magnitude_pattern",
    "make_sparse_training",
    "top_k",
    "uniform",
]
