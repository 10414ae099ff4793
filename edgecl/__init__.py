"""edgecl: continual learning on the device, inside a fixed budget of RAM, compute, energy and flash."""

from .errors import BadInput, EdgeclError, InfeasibleBudget

__version__ = "0.1.0"
__all__ = ["BadInput", "EdgeclError", "InfeasibleBudget", "__version__"]
