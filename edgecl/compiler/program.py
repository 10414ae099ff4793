"""Program: the native engine's operations and buffers of one entry point, in plain numbers."""

from __future__ import annotations

from typing import Any

from .backward import Backward
from .buffers import place
from .saved import save_in_16_bits


class Lowering(Backward):
    """Lowers a graph for ``blocks`` blocks of ``lanes`` samples; ``training`` adds the backward pass.

    ``trained``: parameters that get a gradient, all by default. Given without ``training``, the forward pass is a
    prediction's and the backward pass ends where no trained parameter lies before it.

    ``recompute``: activations that follow from kept convolution outputs alone are not kept but made again in the
    backward pass, to the same bits. ``half``: what waits for the backward pass waits in 16 bits (saved.py).
    ``direct``: of a prediction, dense convolutions run from their weights as they lie, over maps without halo.

    Depthwise and pointwise convolutions read through normalisations: an activation that only they consume, and the
    gradient behind the normalisation that follows them, have no buffer at all.
    """

    def program(self) -> dict[str, Any]:
        self.lower_forward()
        if self.goes_back:
            self.lower_backward()
        if self.goes_back and self.half:
            whole = {*self.factors.values(), *(self.tensors[n] for n in self.fetch)}
            self.forward, self.backward = save_in_16_bits(
                self.buffers, self.forward, self.backward, whole, self.blocks, self.lanes
            )
        for b in self.buffers:  # never touched: keep the table whole at no cost
            b.touch(max(b.first, 0))
        arena = place(self.buffers, self.blocks, self.lanes)
        planes = {
            name: [self.plane(name, x), self.buffers[dy].plane() if dy >= 0 else None]
            for name, (x, dy) in self.planes.items()
        } | self.own_planes
        return {
            "blocks": self.blocks,
            "arena_bytes": arena,
            "maps": [b.row() for b in self.buffers],
            "forward": self.forward,
            "backward": self.backward,
            "feed": self.feed,
            "fetch": {n: self.tensors[n] for n in self.fetch},
            "seeds": self.seeds,
            "factors": self.factors,
            "planes": planes,
        }
