"""Feeders: processes of their own that bring the device's camera, microphone or sensor to the service's socket.

They are clients as any other: they hold no model and no store, and the service goes on without them.
"""

from .base import Frame, Source, Taken
from .feeding import Feeding

__all__ = ["Feeding", "Frame", "Source", "Taken"]
