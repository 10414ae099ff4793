"""The handlers of torch.export's nodes by name, and what they are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..emit import Emit
from ..foreign import Data, Value


@dataclass
class Call:
    """One node: its arguments by name, and what the module calls those that are parameters."""

    op: str
    arguments: Mapping[str, Any]
    names: Mapping[str, str]

    def __getitem__(self, key: str) -> Any:
        return self.arguments[key]

    def get(self, key: str, default: Any = None) -> Any:
        return self.arguments.get(key, default)


Handler = Callable[[Emit, Call], Any]


HANDLERS: dict[str, Handler] = {}


def aten(*names: str) -> Callable[[Handler], Handler]:
    def register(f: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(names, f))
        return f

    return register


def as_value(v: Any) -> Value:
    return v if isinstance(v, (Data, np.ndarray)) else np.array(v, np.float32 if isinstance(v, float) else None)


def as_pair(v: Any, n: int = 2) -> list[int]:
    v = [v] if isinstance(v, int) else list(v)
    return [int(a) for a in (v * n if len(v) == 1 else v)]


def weight_values(c: Call, emit: Emit, *names: str) -> list[Any]:
    return [None if c.get(n) is None else emit.fixed(c[n], n) for n in names]


def weight_names(c: Call) -> dict[str, str]:
    return {k: c.names[k] for k in ("weight", "bias") if k in c.names}
