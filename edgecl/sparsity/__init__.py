"""Which weights live (policies: TDM, static, SET, RigL) and which living weights get a gradient (DGM)."""

from ..methods.phase import Phase
from .allocation import allocate, erk, uniform
from .base import SparsityPolicy, StepInfo
from .dgm import DGM
from .event import PolicyContext
from .exchange import drop_lowest, exchange, exchange_for_candidates
from .look import LAST, NOTHING, TWO, Candidates, Dense, Evidence, Look, Passes
from .make import make_sparse_training
from .masks import exact_count, grow_at_random, magnitude_pattern, newcomers_at_random, positions_of, top_k
from .moves import BrokenContract, Change, Move, Moves
from .registry import GRADIENT_MASKS, POLICIES
from .rigl import RigL
from .set import SET
from .static import Static
from .tdm import TDM
from .tensor import Target, Tensor
from .training import SparseTraining

__all__ = [
    "DGM",
    "GRADIENT_MASKS",
    "LAST",
    "NOTHING",
    "POLICIES",
    "SET",
    "TDM",
    "TWO",
    "BrokenContract",
    "Candidates",
    "Change",
    "Dense",
    "Evidence",
    "Look",
    "Move",
    "Moves",
    "Passes",
    "Phase",
    "PolicyContext",
    "RigL",
    "SparseTraining",
    "SparsityPolicy",
    "Static",
    "StepInfo",
    "Target",
    "Tensor",
    "allocate",
    "drop_lowest",
    "erk",
    "exact_count",
    "exchange",
    "exchange_for_candidates",
    "grow_at_random",
    "magnitude_pattern",
    "make_sparse_training",
    "newcomers_at_random",
    "positions_of",
    "top_k",
    "uniform",
]
