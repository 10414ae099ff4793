"""check_policy lets our policies pass and catches each kind of broken contract, saying what broke and where to read."""

import numpy as np
import pytest

from edgecl.errors import BadInput
from edgecl.sparsity import (
    LAST,
    SET,
    TDM,
    Change,
    Dense,
    Evidence,
    Look,
    Move,
    Moves,
    Passes,
    Phase,
    RigL,
    SparsityPolicy,
    Static,
    exact_count,
    exchange,
)
from edgecl.testing import check_policy

OURS = {
    "tdm, released": TDM,
    "tdm, paper": lambda: TDM(form="paper"),
    "static": Static,
    "set": SET,
    "rigl": lambda: RigL(update_every=8),
}


# Two of them every time, all in a campaign.
EVERY_TIME = ("tdm, released", "rigl")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in EVERY_TIME else pytest.mark.campaign) for n in OURS]
)
def test_our_policies_keep_the_contract(name):
    pytest.importorskip("torch")
    check_policy(OURS[name])


@pytest.mark.campaign  # bytes of a whole process, on a machine that does nothing else
@pytest.mark.parametrize("name", ["tdm, released", "set", "rigl"])
def test_their_moves_take_no_more_than_planned_and_nothing_of_dense_size(name):
    check_policy(OURS[name], engines=(), memory=True)


class Honest(SparsityPolicy):
    """Exchanges every eighth step, in the simplest way: what the faulty ones below start from."""

    name = "honest"
    every = 8

    def check(self, epochs, steps):
        if steps is not None and steps <= self.every:
            raise BadInput("Too short.", "Train longer.")

    def move(self, tensors, evidence, info, rng):
        if not info.step or info.step % self.every:
            return None
        return Moves({n: self.change(t, evidence[n], rng) for n, t in tensors.items()})

    def change(self, t, e, rng):
        return exchange(t, Move(0.8 * t.density, t.density), lambda: np.abs(t.values), rng)


class OneTooMany(Honest):
    def change(self, t, e, rng):
        return Change(t.density, dropped=t.pattern[:1])


class Drifts(Honest):
    def change(self, t, e, rng):
        return Change((t.living - 1) / t.size, dropped=t.pattern[:1])


class TooDense(Honest):
    def change(self, t, e, rng):
        return exchange(t, Move(None, 1.1 * t.living / t.size), lambda: np.abs(t.values), rng)


class GrowsTheLiving(Honest):
    def change(self, t, e, rng):
        return Change(t.density, dropped=t.pattern[:1], grown=t.pattern[1:2])


class Writes(Honest):
    def change(self, t, e, rng):
        t.values[:1] = 0


class BehindTheBack(Honest):
    def begin_task(self, c):
        for name, t in c.tensors.items():
            c.engine.set_pattern(name, np.arange(t.living, dtype=np.int32))
        return ()


class KeepsTheValue(Honest):
    """Moves a weight through `Moves`, and gives the newcomer the old value behind the core's back."""

    def begin_task(self, c):
        for name, t in c.tensors.items():
            c.apply(Moves({name: Change(t.density, dropped=t.pattern[:1], grown=t.pattern[:1])}))
            c.engine.model[name].values[0] = 1.0
        return ()


class OwnDice(Honest):
    def change(self, t, e, rng):
        return super().change(t, e, np.random.default_rng())


class Forgets(Honest):
    """Counts its moves and does not save the count."""

    moved = 0

    def move(self, tensors, evidence, info, rng):
        moves = super().move(tensors, evidence, info, rng)
        self.moved += moves is not None
        return moves if moves is None or self.moved % 2 else Moves()


class ForgetsInAPhase(Honest):
    def __init__(self):
        self.ended = 0

    def end_task(self, c):
        self.ended += 1
        return [Phase("task", steps=5)]

    def begin_task(self, c):
        if self.ended:
            name, t = next(iter(c.tensors.items()))
            c.apply(Moves({name: self.change(t, None, c.rng)}))
        return ()


class LooksUndeclared(Honest):
    def look(self, info):
        return LAST


class LooksFurther(Honest):
    looks = (Dense(top=0.1),)

    def look(self, info):
        return Dense(top=0.2)


class HoardsGradients(Honest):
    kept = np.zeros(0, np.float32)

    def move(self, tensors, evidence, info, rng):
        self.kept = np.zeros((info.step or 0) * 100, np.float32)
        return super().move(tensors, evidence, info, rng)

    def state(self):
        return {"kept": self.kept}

    def load(self, state):
        self.kept = state["kept"]


class NeverFires(Honest):
    every = 1000

    def check(self, epochs, steps):
        return None


class MorePasses(Honest):
    looks = (Passes(1),)

    def look(self, info):
        return Passes(1)

    def passes(self, engine, batch, replay):
        for _ in range(2):
            logits = engine.forward({"input": batch.x})["logits"]
            engine.backward({"logits": np.ones_like(logits)})
        return {}


class KnowsTheEngine(Honest):
    def change(self, t, e, rng):
        return super().change(t, e, np.random.default_rng(len(self.kind)))

    def begin_task(self, c):
        self.kind = type(c.engine).__name__
        return ()

    def state(self):
        return {"kind": np.frombuffer(getattr(self, "kind", "").encode(), np.uint8)}

    def load(self, state):
        self.kind = bytes(np.asarray(state["kind"])).decode()


class OtherContract(Honest):
    contract = 2


class NoName(Honest):
    name = ""


class OptionsThatAreNone(Honest):
    def options(self):
        return {"nobody": 1}


class OddLooks(Honest):
    looks = ("last",)


class PeakBelowTheStart(Honest):
    def start_density(self, density):
        return 1.0

    def peak_density(self, density):
        return density


FAULTS = {
    OneTooMany: r"leaves \d+ weights where density 0\.25 is \d+.*SparsityPolicy\.move",
    Drifts: r"at the end of task 1: \d+ weights of 'fc1.weight' live.*final_density",
    TooDense: r"denser than the 0\.25 that its peak_density\(\) promised",
    GrowsTheLiving: r"grows a weight that lives and stays",
    Writes: r"wrote into a tensor it was shown.*SparsityPolicy\.move",
    BehindTheBack: r"at the beginning of task 1: the pattern of 'fc1.weight' changed, and no Moves said so",
    KeepsTheValue: r"lost its value",
    OwnDice: r"the same seed gives other bits",
    Forgets: r"saved here and resumed, other bits.*SparsityPolicy\.state",
    ForgetsInAPhase: r"saved here and resumed, other bits.*SparsityPolicy\.state",
    LooksUndeclared: r"looks for Look\(kind='last'\), which it did not declare",
    LooksFurther: r"looks for Dense\(kind='dense', top=0.2\), which it did not declare",
    HoardsGradients: r"bytes are kept between steps, \d+ are planned.*kept_bytes",
    NeverFires: r"accepts a task of 1 epochs and 1 steps and then moves no weight.*SparsityPolicy\.check",
    MorePasses: r"announced 1 passes of its own and ran 2",
    OtherContract: r"has contract 2, this version 1",
    NoName: r"has no name",
    OptionsThatAreNone: r"cannot be made again from its options.*SparsityPolicy\.options",
    OddLooks: r"declares looks",
    PeakBelowTheStart: r"peak density below the density it starts or trains at",
}


def test_the_policy_that_the_faults_are_planted_in_passes():
    check_policy(Honest, engines=("native",))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda c: c.__name__)
def test_a_broken_contract_is_told(fault):
    with pytest.raises(AssertionError, match=f"(?s){FAULTS[fault]}"):
        check_policy(fault, engines=("native",))


def test_patterns_that_differ_between_engines_are_told():
    pytest.importorskip("torch")
    with pytest.raises(AssertionError, match=r"live on one engine and not on the other"):
        check_policy(KnowsTheEngine)


class DenseBuffer(Honest):
    """Keeps nothing, but scores a tensor in dense form for a moment."""

    def change(self, t, e, rng):
        scores = np.ones(t.size, np.float64)
        scores[t.pattern] = np.abs(t.values)
        return exchange(t, Move(0.8 * t.density, t.density), lambda: scores[t.pattern], rng)


def test_a_buffer_of_dense_size_is_told():
    with pytest.raises(AssertionError, match=r"took \d+\.\d MB beside weights and gradients, planned are"):
        check_policy(DenseBuffer, engines=(), memory=True)


class TwoPasses(Honest):
    """Drops by the gradients of passes of its own."""

    looks = (Passes(1),)

    def look(self, info):
        return Passes(1) if info.step and info.step % self.every == 0 else Look("nothing")

    def passes(self, engine, batch, replay):
        logits = engine.forward({engine.model.graph.input: batch.x})["logits"]
        engine.backward({"logits": logits})
        return {n: np.abs(engine.gradients[n]) for n in engine.model.parameters if n in engine.plan.densities}

    def change(self, t, e: Evidence, rng):
        assert e.own.size == t.living and exact_count(t.density, t.size) == t.living
        return exchange(t, Move(0.8 * t.density, t.density), lambda: e.own, rng)


def test_passes_of_a_policys_own_leave_no_trace_but_their_evidence():
    check_policy(TwoPasses, engines=("native",))
