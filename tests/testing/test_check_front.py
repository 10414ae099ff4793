"""check_front lets an honest front pass and catches each kind of broken contract, saying what broke and where."""

import numpy as np
import pytest

from edgecl.errors import BadInput
from edgecl.fronts import Front
from edgecl.options import option
from edgecl.parsing import count, real
from edgecl.testing import check_front

SHAPE = (3, 1, 40)


class Honest(Front):
    """A random projection of every channel, held as a table: what the faulty ones below start from."""

    name, contract = "honest", 1
    width: int = option(64, count(1), "values that come out")
    gain: float = option(1.0, real(0.0, True), "factor")

    def __init__(self, **given):
        super().__init__(**given)
        self._table = None

    def prepare(self, shape, dtype):
        if len(shape) != 3 or shape[1] != 1 or dtype != "float32":
            raise BadInput(f"'honest' takes no {dtype} of shape {shape}.", "Give signals.")
        self.shape = (shape[0], 1, self.width)
        if self._table is None:
            self._table = np.random.default_rng(3).normal(size=(shape[2], self.width)).astype(np.float32)
        self.bytes, self.flops = self._table.nbytes, 2 * shape[0] * shape[2] * self.width

    def __call__(self, x):
        out = np.empty((len(x), *self.shape), np.float32)
        for row, one in zip(out, x):
            np.matmul(one[:, 0], self._table, out=row[:, 0])
            row *= np.float32(self.gain)
        return out

    def state(self):
        return {"table": self._table}

    def load(self, state):
        self._table = state["table"]


def test_an_honest_front_passes():
    check_front(Honest, SHAPE)
    check_front(lambda: Honest(width=9, gain=2.0), SHAPE, samples=np.ones((4, *SHAPE), np.float32))


class OtherShape(Honest):
    def __call__(self, x):
        return super().__call__(x)[..., :-1]


class OtherType(Honest):
    def __call__(self, x):
        return super().__call__(x).astype(np.float64)


class NotFinite(Honest):
    def __call__(self, x):
        return super().__call__(x) / np.float32(0)


class Drifts(Honest):
    calls = 0

    def __call__(self, x):
        self.calls += 1
        return super().__call__(x) + np.float32(self.calls)


class OfItsBatch(Honest):
    def __call__(self, x):
        found = super().__call__(x)
        return found - found.mean(axis=0, keepdims=True)


class OneBuffer(Honest):
    def __call__(self, x):
        if getattr(self, "held", None) is None:
            self.held = np.empty((64, *self.shape), np.float32)
        self.held[: len(x)] = super().__call__(x)
        return self.held[: len(x)]


class SharedScratch(Honest):
    """Right for one thread."""

    def __call__(self, x):
        import time

        self.scratch = super().__call__(x)
        time.sleep(0.001)
        return self.scratch.copy()


class WritesIntoSamples(Honest):
    def __call__(self, x):
        x *= 2
        return super().__call__(x)


class ViewOfSamples(Honest):
    def prepare(self, shape, dtype):
        super().prepare(shape, dtype)
        self.shape, self.bytes = (shape[0], 1, 30), 0

    def __call__(self, x):
        return x[..., :30]


class Unseeded(Honest):
    def prepare(self, shape, dtype):
        super().prepare(shape, dtype)
        self._table = np.random.default_rng().normal(size=self._table.shape).astype(np.float32)


class ForgetsState(Honest):
    """Its table is drawn where it is made, and in no state."""

    def prepare(self, shape, dtype):
        super().prepare(shape, dtype)
        self._table = np.random.default_rng(self.seed).normal(size=self._table.shape).astype(np.float32)

    def __init__(self, seed=0, **given):
        super().__init__(**given)
        self.seed = seed

    def state(self):
        return {}

    def load(self, state):
        pass


class BlindDigest(Honest):
    @property
    def digest(self):
        return "0" * 64


class BlindToAnOption(Honest):
    def hyper(self):
        return {"width": self.width}


class TakesAnything(Honest):
    def prepare(self, shape, dtype):
        if shape and shape[-1] == 40:
            super().prepare(shape, "float32")
        else:
            self.shape = (1, 1, 1)


class FailsOnOthers(Honest):
    def prepare(self, shape, dtype):
        channels, _, values = shape
        super().prepare((channels, 1, values), dtype)


class HoldsMore(Honest):
    def prepare(self, shape, dtype):
        super().prepare(shape, dtype)
        self._more = np.ones(200_000, np.float64)


class TakesMore(Honest):
    def __call__(self, x):
        np.ones(300_000, np.float64).sum()
        return super().__call__(x)


class DeclaresTooMuch(Honest):
    def prepare(self, shape, dtype):
        super().prepare(shape, dtype)
        self.bytes += 5_000_000


class NoFlops(Honest):
    def prepare(self, shape, dtype):
        super().prepare(shape, dtype)
        self.flops = 0

    def __call__(self, x):
        for _ in range(30 * len(x)):
            np.ones((30, 30)) @ np.ones((30, 30))
        return super().__call__(x)


class FlopsOfAWorld(Honest):
    def prepare(self, shape, dtype):
        super().prepare(shape, dtype)
        self.flops = 10**15


class WrongContract(Honest):
    contract = 2


class Nameless(Honest):
    name = ""


class ChangesItself(Honest):
    """Prepares the front that was asked, not its copy."""

    def placed(self, shape, dtype):
        self.raw_shape, self.raw_dtype = tuple(shape), dtype
        self.prepare(tuple(shape), dtype)
        return self


FAULTS = {
    OtherShape: "declares float32",
    OtherType: "gives float64",
    NotFinite: "not finite",
    Drifts: "second time",
    OfItsBatch: "alone than among others",
    OneBuffer: "in the same memory",
    SharedScratch: "while other threads",
    WritesIntoSamples: "writes into the samples",
    ViewOfSamples: "view of the samples",
    Unseeded: "made again",
    BlindDigest: "same digest with",
    BlindToAnOption: "same digest with gain",
    TakesAnything: "takes float32 samples of shape",
    FailsOnOthers: "with ValueError, not with BadInput",
    HoldsMore: "become resident.*bytes",
    TakesMore: "become resident.*bytes",
    DeclaresTooMuch: "declared are 5",
    NoFlops: "declares 0 FLOPs",
    FlopsOfAWorld: "FLOPs",
    WrongContract: "contract 2",
    Nameless: "no name",
    ChangesItself: "was changed when",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.__name__)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_each_fault_is_caught_and_said(fault):
    with pytest.raises(AssertionError, match=FAULTS[fault]) as caught:
        check_front(fault, SHAPE)
    assert "Read edgecl.fronts.Front" in str(caught.value)


def test_a_front_whose_state_does_not_bring_it_back_is_caught():
    seeds = iter([5] * 50)
    with pytest.raises(AssertionError, match="made again"):
        check_front(lambda: ForgetsState(seed=next(seeds)), SHAPE)
