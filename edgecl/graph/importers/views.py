"""Foreign tensors in another shape or order, put together, repeated, cut, gathered, padded. The batch is an axis like
any other until something would mix its samples, which is refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .foreign import Array, Data, Mixes, Unsupported, Value
from .nodes import Nodes


class Views(Nodes):
    """Shapes of foreign tensors; constants are reshaped by numpy."""

    def reshape(self, x: Value, target: Sequence[int], allow_zero: bool = False) -> Value:
        foreign = self.foreign(x)
        sizes = [foreign[i] if n == 0 and not allow_zero else int(n) for i, n in enumerate(target)]
        total = math.prod(foreign)
        if sizes.count(-1) > 1 or any(n < -1 for n in sizes):
            raise Unsupported(f"reshapes to {list(target)}")
        if -1 in sizes:
            rest = math.prod(n for n in sizes if n != -1)
            if not rest or total % rest:
                raise Unsupported(f"reshapes {foreign} to {list(target)}")
            sizes[sizes.index(-1)] = total // rest
        if math.prod(sizes) != total:
            raise Unsupported(f"reshapes {foreign} to {list(target)}")
        if isinstance(x, np.ndarray):
            return x.reshape(sizes)
        return self._reshaped(x, sizes)

    def _reshaped(self, x: Data, sizes: list[int]) -> Data:
        """The batch is where it was if as many values stand before it, alone or as the slower part of an axis."""
        if x.batch is None:
            return self._as(x, sizes, None)
        before = math.prod(x.shape[: x.batch + (x.merged == "fast")])
        for i, n in enumerate(sizes):
            stands, own = math.prod(sizes[:i]), n // self.many
            if n % self.many or before not in (stands, stands * own):
                continue
            if n == self.many:
                return self._as(x, sizes[:i] + sizes[i + 1 :], i, "")
            if self.many > 1 or all(m != 1 for m in sizes[i:]):
                return self._as(x, [*sizes[:i], own, *sizes[i + 1 :]], i, "slow" if stands == before else "fast")
        raise Mixes

    def _as(self, x: Data, shape: Sequence[int], batch: int | None, merged: str = "") -> Data:
        if tuple(shape) == x.shape:
            return replace(x, batch=batch, merged=merged)
        out = self.add("reshape", [x], x, suffix="shape", shape=[int(n) for n in shape])
        return replace(out, batch=batch, merged=merged)

    def transpose(self, x: Value, order: Sequence[int]) -> Value:
        if isinstance(x, np.ndarray):
            return x.transpose(order)
        order = [a % x.rank for a in order]
        axes = order if x.merged or x.batch is None else [x.own(a) for a in order if a != x.batch]
        batch = None if x.batch is None else order.index(x.batch)
        out = x
        if axes != list(range(len(x.shape))):
            out = self.add("transpose", [x], x, suffix="order", axes=axes)
        return replace(out, batch=batch)

    def expand(self, x: Value, target: Sequence[int]) -> Value:
        """Repeated to a foreign shape; -1 keeps an axis."""
        own = self.foreign(x)
        padded = [1] * (len(target) - len(own)) + own
        sizes = [a if n == -1 else max(a, int(n)) if 1 in (a, int(n)) else int(n) for a, n in zip(padded, target)]
        if isinstance(x, np.ndarray):
            return np.broadcast_to(x, sizes)
        if sizes == own:
            return x
        grown = self.lift(x, len(sizes))
        shape = list(sizes)
        if grown.batch is not None:
            if sizes[grown.batch] != self.foreign(grown)[grown.batch]:
                raise Mixes
            if grown.merged:
                shape[grown.batch] //= self.many
            else:
                del shape[grown.batch]
        return self.add("expand", [grown], grown, suffix="repeat", shape=shape)

    def lift(self, x: Data, rank: int) -> Data:
        """Foreign axes of size 1 in front, as broadcasting puts them there."""
        more = rank - x.rank
        if not more:
            return x
        batch = None if x.batch is None else x.batch + more
        return self._as(x, [1] * more + list(x.shape), batch, x.merged)

    def slice(self, x: Value, axis: int, start: int, stop: int, step: int = 1) -> Value:
        """Python's slice along one foreign axis."""
        if isinstance(x, np.ndarray):
            at = [slice(None)] * x.ndim
            at[axis] = slice(start, stop if stop >= -x.shape[axis] or step > 0 else None, step)
            return x[tuple(at)]
        size = self.foreign(x)[axis % x.rank]
        places = range(size)[slice(start, None if step < 0 and stop < -size else stop, step)]
        if len(places) == size and step > 0:
            return x
        if not len(places):
            raise Unsupported("takes an empty slice")
        a = x.own(axis)
        n = len(x.shape)
        return self.add(
            "slice", [x], x, suffix="slice", start=[places[0] if i == a else 0 for i in range(n)],
            size=[len(places) if i == a else m for i, m in enumerate(x.shape)],
            step=[step if i == a and len(places) > 1 else 1 for i in range(n)],
        )  # fmt: skip

    def squeeze(self, x: Value, axes: Sequence[int]) -> Value:
        own = self.foreign(x)
        axes = [a % len(own) for a in axes]
        if isinstance(x, Data) and x.batch in axes:
            raise Mixes
        if any(own[a] != 1 for a in axes):
            raise Unsupported(f"drops an axis of {own} that is not of size 1")
        if isinstance(x, np.ndarray):
            return x.reshape([n for a, n in enumerate(own) if a not in axes])
        gone = {x.own(a) for a in axes}
        batch = None if x.batch is None else x.batch - sum(a < x.batch for a in axes)
        return self._as(x, [n for a, n in enumerate(x.shape) if a not in gone], batch, x.merged)

    def unsqueeze(self, x: Value, axes: Sequence[int]) -> Value:
        rank = len(self.foreign(x)) + len(axes)
        axes = sorted(a % rank for a in axes)
        if isinstance(x, np.ndarray):
            return np.expand_dims(x, tuple(axes))
        own, batch = list(self.foreign(x)), x.batch
        for a in axes:
            own.insert(a, 1)
            if batch is not None and a <= batch:
                batch += 1
        if batch is not None:
            own[batch] //= self.many
            if not x.merged:
                del own[batch]
        return self._as(x, own, batch, x.merged)

    def concat(self, values: Sequence[Value], axis: int) -> Value:
        if all(isinstance(v, np.ndarray) for v in values):
            return np.concatenate([np.asarray(v) for v in values], axis)
        lead = next(v for v in values if (isinstance(v, Data) and v.batch is not None) or isinstance(v, Data))
        parts = [self.aligned(v, lead) for v in values]
        if any(isinstance(v, Data) and (v.batch, v.merged) != (lead.batch, lead.merged) and v.batch is not None
               for v in values):  # fmt: skip
            raise Mixes
        return self.add("concat", parts, lead, axis=lead.own(axis))

    def aligned(self, v: Value, lead: Data) -> Data:
        """A constant of the same foreign rank as a tensor beside it, without the axis where that has its batch."""
        if isinstance(v, Data):
            return v
        v = np.asarray(v)
        if v.ndim > lead.rank:
            raise Unsupported(f"joins a constant of {v.ndim} axes with a tensor of {lead.rank}")
        v = v.reshape((1,) * (lead.rank - v.ndim) + v.shape)
        if lead.batch is not None and lead.merged and v.shape[lead.batch] != 1:
            raise Mixes
        if lead.batch is not None and not lead.merged:
            if v.shape[lead.batch] != 1:
                first = np.take(v, [0], lead.batch)
                if v.shape[lead.batch] != self.many or not (v.strides[lead.batch] == 0 or np.array_equal(
                        np.broadcast_to(first, v.shape), v)):  # fmt: skip
                    raise Mixes
                v = first
            v = np.squeeze(v, lead.batch)
        return self.constant(np.array(v, np.float32))

    def resample(self, x: Value, axis: int, columns, weights, suffix: str = "resample") -> Value:
        x = self.data(x)
        return self.add(
            "resample", [x], x, suffix=suffix, axis=x.own(axis), columns=[[int(c) for c in row] for row in columns],
            weights=[[float(w) for w in row] for row in weights],
        )  # fmt: skip

    def gather(self, x: Value, axis: int, places: Array) -> Value:
        """Rows of one foreign axis by constant places; a scalar place drops the axis."""
        if isinstance(x, np.ndarray):
            return np.take(x, places, axis)
        size = self.foreign(x)[axis % x.rank]
        axis %= x.rank
        flat = np.asarray(places).ravel() % size
        if len(flat) == 1:
            out = self.slice(x, axis, int(flat[0]), int(flat[0]) + 1)
        else:
            out = self.resample(x, axis, flat[:, None], np.ones((len(flat), 1)), "gather")
        own = self.foreign(out)
        shape = [*own[:axis], *np.shape(places), *own[axis + 1 :]]
        if np.ndim(places) == 0:
            return self.squeeze(out, [axis])
        return out if np.ndim(places) == 1 else self.reshape(out, shape, allow_zero=True)

    def pad(
        self, x: Value, before: Sequence[int], after: Sequence[int], mode: str = "constant", value: float = 0.0
    ) -> Value:
        """By foreign axes; negative numbers cut."""
        if isinstance(x, np.ndarray):
            return np.pad(
                x, list(zip(before, after)), **({"constant_values": value} if mode == "constant" else {"mode": mode})
            )
        for axis, (a, b) in enumerate(zip(before, after)):
            if a < 0 or b < 0:
                size = self.foreign(x)[axis]
                x = self.data(self.slice(x, axis, max(0, -a), size - max(0, -b)))
        before, after = [max(0, a) for a in before], [max(0, b) for b in after]
        moved = [a for a in range(x.rank) if before[a] or after[a]]
        if not moved:
            return x
        own = {x.own(a): a for a in moved}
        if mode == "constant":
            sides = [[side[own[i]] if i in own else 0 for i in range(len(x.shape))] for side in (before, after)]
            return self.add("pad", [x], x, suffix="pad", before=sides[0], after=sides[1], value=float(value))
        for axis in moved:
            size = self.foreign(x)[axis]
            places = np.pad(np.arange(size), (before[axis], after[axis]), mode=mode)  # type: ignore[call-overload]
            x = self.data(self.gather(x, axis, places))
        return x
