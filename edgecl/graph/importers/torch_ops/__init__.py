"""How each node of torch.export's graph becomes nodes of ours: a module for each family of operators registers its
handlers. In-place variants are read as the others.
"""

from . import arithmetic, constants, functions, layers, normalisation, pieces, recurrent, reductions, shapes
from .registry import HANDLERS, Call

__all__ = [
    "HANDLERS", "Call", "arithmetic", "constants", "functions", "layers", "normalisation", "pieces", "recurrent",
    "reductions", "shapes",
]  # fmt: skip
