"""The service: a daemon that keeps a `Learner` learning behind a socket, and the client that speaks with it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client import Client

__all__ = ["Client"]


def __getattr__(name: str) -> Any:
    """The client is imported when first asked for: it needs none of the server's packages, nor they it."""
    if name not in __all__:
        raise AttributeError(f"module 'edgecl.service' has no attribute '{name}'")
    from .client import Client

    return Client
