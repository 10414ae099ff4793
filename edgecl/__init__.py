"""edgecl: continual learning on the device, inside a fixed budget of RAM, compute, energy and flash."""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if find_spec(f"{__name__}.storage") is None:
    raise ImportError(
        "This is edgecl's source tree, which has no compiled parts; it hides an installed edgecl. "
        "Start Python from another folder, or install with: pip install -e ."
    )

from .errors import BadInput, EdgeclError, InfeasibleBudget

if TYPE_CHECKING:
    from .budget import Budget
    from .devices import load_profile
    from .exporting import to_onnx
    from .importing import from_onnx, from_torch
    from .learner import Learner, LearnLog
    from .network import Network

__version__ = "0.1.0"
__all__ = [
    "BadInput",
    "Budget",
    "EdgeclError",
    "InfeasibleBudget",
    "LearnLog",
    "Learner",
    "Network",
    "__version__",
    "from_onnx",
    "from_torch",
    "load_profile",
    "to_onnx",
]

_HOMES = {
    "Learner": "learner", "LearnLog": "learner", "Budget": "budget", "load_profile": "devices", "Network": "network",
    "from_onnx": "importing", "from_torch": "importing", "to_onnx": "exporting",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """The larger parts are imported when first asked for: `edgecl --help` needs none of them."""
    if name not in _HOMES:
        raise AttributeError(f"module 'edgecl' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
