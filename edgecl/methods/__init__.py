"""Continual-learning methods: losses with analytic gradients, replay, gates, metrics. All numpy."""

from .base import Method, Needs, NonFiniteLoss, StepResult
from .batch import Batch, Draw, Replay
from .derpp import DER, DERpp
from .er import ER
from .gates import Replayed, gate, gates
from .joint import Joint
from .losses import cross_entropy, entropy, mse_logits
from .metrics import accuracy_metrics, evaluate_logits
from .naive import Naive
from .registry import METHODS, hyperparameters, make_method, methods

__all__ = [
    "DER",
    "ER",
    "METHODS",
    "Batch",
    "DERpp",
    "Draw",
    "Joint",
    "Method",
    "Naive",
    "Needs",
    "NonFiniteLoss",
    "Replay",
    "Replayed",
    "StepResult",
    "accuracy_metrics",
    "cross_entropy",
    "entropy",
    "evaluate_logits",
    "gate",
    "gates",
    "hyperparameters",
    "make_method",
    "methods",
    "mse_logits",
]
