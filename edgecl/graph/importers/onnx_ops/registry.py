"""The handlers of ONNX operators by name. A handler takes the node's `Form` and returns its output values."""

from __future__ import annotations

from collections.abc import Callable

from ..emit import Emit
from ..foreign import Missing, Value
from ..onnx_forms import Form

Handler = Callable[[Emit, Form], Value | Missing | tuple[Value, ...]]


HANDLERS: dict[str, Handler] = {}


def onnx(*names: str) -> Callable[[Handler], Handler]:
    def register(f: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(names, f))
        return f

    return register
