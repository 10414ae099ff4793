"""Functions, arithmetic, reductions and products of foreign tensors, broadcast as theirs are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .foreign import Array, Data, Mixes, Value
from .views import Views


class Arithmetic(Views):
    """Operators on constants alone are folded by numpy and reach no graph."""

    def arithmetic(self, op: str, values: Sequence[Value], fold, keys: Sequence[str] = ()) -> Value:
        """An elementwise operator of several values; ``fold`` computes it on constants."""
        if all(isinstance(v, np.ndarray) for v in values):
            return fold(*values)
        rank = max(v.rank if isinstance(v, Data) else v.ndim for v in values)
        real = [v for v in values if isinstance(v, Data) and v.batch is not None]
        lead = max(real or [v for v in values if isinstance(v, Data)], key=lambda d: d.rank)
        if lead.rank < rank:
            lead = self.lift(lead, rank)
        parts = []
        for v in values:
            if isinstance(v, Data):
                if v.batch is not None:
                    v = self.lift(v, rank) if v.rank < rank else v
                    if (v.batch, v.merged) != (lead.batch, lead.merged):
                        raise Mixes
                    parts.append(v)
                else:
                    parts.append(self._without_batch(v, lead))
            else:
                parts.append(self.aligned(v, lead))
        return self.add(op, parts, lead)

    def _without_batch(self, v: Data, lead: Data) -> Data:
        """A tensor without a batch beside one with: the axis where that has its batch must be of size 1."""
        if lead.batch is None:
            return v
        shape = [1] * (lead.rank - len(v.shape)) + list(v.shape)
        if shape[lead.batch] != 1:
            raise Mixes
        if not lead.merged:
            del shape[lead.batch]
        return self._as(v, shape, None)

    def function(self, op: str, x: Value, fold=None, **attributes: Any) -> Value:
        if isinstance(x, np.ndarray):
            if fold is not None:
                return fold(x)
            from ..registry import operator

            entry = operator(op)
            given = {**entry.optional_attributes, **attributes}
            return entry.forward([np.asarray(x, np.float32)[None]], {}, given, False)[0][0]
        return self.add(op, [x], x, **attributes)

    def reduce(self, op: str, x: Value, axes: Sequence[int] | None, keep: bool, **attributes: Any) -> Value:
        if isinstance(x, np.ndarray):
            from ..registry import operator

            entry = operator(op)
            given = {**entry.optional_attributes, "axes": list(axes) if axes else [], "keep": keep, **attributes}
            return entry.forward([x.astype(np.float64)[None]], {}, given, False)[0][0].astype(x.dtype)
        if not axes:
            axes = list(range(x.rank))
        own = sorted({x.own(a) for a in axes})
        foreign = sorted({a % x.rank for a in axes})
        out = self.add(op, [x], x, axes=own, keep=keep, **attributes)
        batch = x.batch if keep or x.batch is None else x.batch - sum(a < x.batch for a in foreign)
        return replace(out, batch=batch)

    def along(self, op: str, x: Value, axis: int, **attributes: Any) -> Value:
        x = self.data(x)
        return self.add(op, [x], x, axis=x.own(axis), **attributes)

    def linear(self, x: Data, weight: Array, bias: Array | None, keys: Mapping[str, str] | None = None) -> Data:
        """On the last axis; weight [out, in]."""
        if x.batch is not None and x.batch == x.rank - 1:
            raise Mixes
        params = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
        return self.add(
            "linear", [x], x, params=params, keys=keys, out=weight.shape[0], bias=bias is not None, prunable=True
        )

    def matmul(self, a: Value, b: Value, scale: float = 1.0, keys: str = "") -> Value:
        if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
            return np.matmul(a, b) * scale
        if isinstance(b, np.ndarray) and b.ndim == 2 and isinstance(a, Data) and b.dtype.kind == "f":
            out = self.linear(a, np.ascontiguousarray(b.T), None, {"weight": f"{keys}^T"} if keys else None)
            return out if scale == 1.0 else self.function("scale_shift", out, scale=scale, shift=0.0)
        vectors = [len(self.foreign(v)) == 1 for v in (a, b)]
        if vectors[0]:
            a = self.unsqueeze(a, [0])
        if vectors[1]:
            b = self.unsqueeze(b, [-1])
        lead = max((v for v in (a, b) if isinstance(v, Data)), key=lambda d: (d.batch is not None, d.rank))
        rank = max(len(self.foreign(v)) for v in (a, b))
        if lead.rank < rank:
            lead = self.lift(lead, rank)
        parts = []
        for v in (a, b):
            if isinstance(v, Data):
                if v.batch is None and lead.batch is not None:
                    v = self._without_batch(v, lead)
                elif v.rank < rank:
                    v = self.lift(v, rank)
                if v.batch is not None and (v.batch, v.merged) != (lead.batch, lead.merged):
                    raise Mixes
                parts.append(v)
            else:
                parts.append(self.aligned(v, lead))
        if lead.batch is not None and lead.batch >= lead.rank - 2:
            raise Mixes
        product = self.add("matmul", parts, lead, scale=float(scale))
        drop = [a for a, v in ((-2, vectors[0]), (-1, vectors[1])) if v]
        return self.squeeze(product, drop) if drop else product
