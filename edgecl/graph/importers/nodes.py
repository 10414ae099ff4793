"""Nodes and constants of the graph that an importer makes, and the shapes of its tensors as the foreign ones."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...errors import EdgeclError
from ..builder import GraphBuilder
from .foreign import LARGEST, Array, Data, Mixes, Unsupported, Value

LONGEST = 120  # characters of a foreign name that are kept, its end


class Nodes:
    """Appends nodes to a graph, whose tensors have the batch where foreign ones have it. ``many``: the number that
    stands for the size of a batch.
    """

    def __init__(self, builder: GraphBuilder, many: int) -> None:
        self.g, self.many = builder, many
        self.weights: dict[str, Array] = {}
        self.warnings: list[str] = []
        self.shared: dict[tuple[str, str], tuple[str, str]] = {}
        self.place = "node"

    # ---- names and nodes
    def name(self, suffix: str = "") -> str:
        base = re.sub(r"[^A-Za-z0-9_.]+", "_", self.place.strip("/").replace("/", ".")).strip("._") or "node"
        base = base[-LONGEST:].strip("._") + (f".{suffix}" if suffix else "")
        found, i = base, 1
        while found in self.g.shapes:
            i += 1
            found = f"{base}_{i}"
        return found

    def add(
        self, op: str, inputs: Sequence[Data], like: Data, *, suffix: str = "", params: Mapping[str,
        Array] | None = None,
        keys: Mapping[str, str] | None = None, **attributes: Any,
    ) -> Data:  # fmt: skip
        """One node; its output has the batch where ``like`` has it. ``params``: values by local name, ``keys`` what
        they
        are called in the file: two nodes of one key share a parameter.
        """
        name = self.name(suffix)
        share = {}
        for local, key in (keys or {}).items():
            if params and local in params and (key, local) in self.shared:
                share[local] = self.shared[key, local][0]
        try:
            self.g.add(op, [d.name for d in inputs], name=name, share=share, **attributes)
        except EdgeclError as error:
            raise Unsupported(error.cause) from error
        for local, value in (params or {}).items():
            full = f"{name}.{local}"
            if local in share:
                continue
            value = np.asarray(value)
            if not np.isfinite(value).all():
                raise Unsupported("has weights that are not finite")
            spec = self.g.parameters[full]
            self.weights[full] = np.ascontiguousarray(value, np.float32).reshape(spec.shape)
            if keys and local in keys:
                self.shared[keys[local], local] = full, local
        return replace(like, name=name, shape=self.g.shapes[name])

    def constant(self, value: Array, trained: bool = False, key: str = "") -> Data:
        """A constant as a tensor of the graph, the same for every sample; its foreign axes are the sample's."""
        value = np.asarray(value)
        if not trained and value.dtype.kind == "f":
            value = np.clip(value, -LARGEST, LARGEST)  # masks may hold infinities
        return self.add(
            "parameter", [], Data("", (), None), suffix="value", params={"value": value},
            keys={"value": key} if key else None, shape=list(value.shape), trained=trained,
        )  # fmt: skip

    # ---- foreign shapes
    def foreign(self, x: Value) -> list[int]:
        if isinstance(x, np.ndarray):
            return list(x.shape)
        shape = list(x.shape)
        if x.batch is None:
            return shape
        if x.merged:
            shape[x.batch] *= self.many
            return shape
        return [*shape[: x.batch], self.many, *shape[x.batch :]]

    def data(self, x: Value) -> Data:
        if not isinstance(x, Data):
            raise Unsupported("works on a constant where the network's data is expected")
        return x

    def batched(self, x: Value) -> Data:
        """Data whose batch is the first foreign axis, as convolutions and norms take it."""
        x = self.data(x)
        if x.batch != 0 or x.merged:
            raise Mixes if x.batch is not None else Unsupported("needs a batch as its first axis")
        return x

    def fixed(self, x: Value, what: str) -> Array:
        if isinstance(x, Data):
            raise Unsupported(f"takes its {what} from the network's data")
        return x
