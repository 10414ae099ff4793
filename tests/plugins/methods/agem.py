"""A-GEM (Chaudhry et al., ICLR 2019): a step may not raise the loss of the memory, to first order."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from edgecl.methods import Method, Needs, NonFiniteLoss, cross_entropy
from edgecl.options import option
from edgecl.parsing import real


class AGEM(Method):
    """g of the current rows, r of replayed ones: where g.r < 0 the step takes g - (1 + margin) (g.r / r.r) r.

    With an empty memory it is the naive method, bit for bit.
    """

    name: ClassVar[str] = "agem-outside"
    contract: ClassVar[int] = 1

    margin: float = option(0.0, real(), "share by which the projected gradient goes beyond orthogonal")

    @property
    def needs(self):
        return Needs(draws=1, gradient_copies=1)

    def train_step(self, c, batch, replay, lr, *, micro_batch=None, before_step=None):
        drawn = [d for d in replay if len(d)]
        if not drawn:
            return super().train_step(c, batch, (), lr, micro_batch=micro_batch, before_step=before_step)
        engine = c.engine
        try:
            value = sum(self.reference(engine, d, micro_batch) for d in drawn)
        except NonFiniteLoss:
            engine.discard()
            raise
        r = engine.gradients.copy()
        engine.clear_gradients()

        def project(engine):
            overlap = engine.gradients.dot(r)
            if overlap < 0:
                length = float(r @ r)
                engine.gradients.axpy(-(1 + self.margin) * overlap / length, r)
            if before_step is not None:
                before_step(engine)

        result = super().train_step(c, batch, (), lr, micro_batch=micro_batch, before_step=project)
        samples = result.samples + sum(len(d) for d in drawn)
        return replace(result, samples=samples, terms={**result.terms, "reference": value})

    def reference(self, engine, drawn, micro_batch):
        """Accumulate the gradient of the mean cross-entropy of a draw; its value."""
        value, most = 0.0, micro_batch or len(drawn)
        for start in range(0, len(drawn), most):
            part = drawn.rows(start, start + most)
            logits = engine.forward({engine.model.graph.input: part.x})["logits"]
            loss, gradient = cross_entropy(logits, part.y, count=len(drawn))
            value += loss
            if value != value or value == float("inf"):
                raise NonFiniteLoss(f"The loss of the memory is {value}.", "Lower the learning rate.")
            engine.backward({"logits": gradient})
        return value
