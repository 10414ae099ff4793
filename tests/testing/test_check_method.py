"""check_method lets our methods, those of people outside and those that use rare parts of the contract pass, and
catches each kind of broken contract, saying what broke and where to read."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import made_up_methods
import numpy as np
import pytest

from edgecl.methods import ER, METHODS, Needs, StepResult, cross_entropy
from edgecl.methods.needs import Field, Passes
from edgecl.methods.phase import Phase
from edgecl.testing import check_method

OUTSIDE = Path(__file__).parents[1] / "plugins" / "methods"
MODULES = {"er_ace": "ERACE", "agem": "AGEM", "nearest_mean": "NearestMean", "lwf": "LwF", "average": "AverageER"}
MODULES |= {"streaming_lda": "StreamingLDA"}


def outside(module: str) -> type:
    """A class of the project that pip would install."""
    sys.path.insert(0, str(OUTSIDE))
    try:
        return getattr(__import__(module), MODULES[module])
    finally:
        sys.path.remove(str(OUTSIDE))


@pytest.fixture(autouse=True)
def own_methods():
    """METHODS as it was, after the test."""
    before = dict(METHODS.loaded()), dict(METHODS._origins)
    yield
    METHODS._entries, METHODS._origins = before


def ours() -> list[str]:
    return [name for name in METHODS.names() if METHODS.origin(name) is None]


# Their phases are as long as for real data by default; here they are as long as it takes to stop in their middle.
SHORT = {"gdumb": {"memory_epochs": 3}, "rainbow": {"memory_epochs": 2}, "k-fpf": {"steps": 4}}


@pytest.mark.parametrize("name", ours())
def test_our_methods_keep_the_contract(name):
    pytest.importorskip("torch")
    check_method(METHODS.get(name)(**SHORT[name]) if name in SHORT else name)


def test_gdumb_that_trains_at_every_tasks_end_keeps_it_too():
    pytest.importorskip("torch")
    check_method(METHODS.get("gdumb")(memory_epochs=2, retrain="task"))


@pytest.mark.parametrize("module", MODULES)
def test_methods_of_people_outside_keep_it(module):
    pytest.importorskip("torch")
    check_method(outside(module))


def test_options_of_an_object_are_taken():
    pytest.importorskip("torch")
    check_method(outside("lwf")(warm_up=1))


@pytest.mark.parametrize("method", made_up_methods.ALL, ids=lambda m: m.name)
def test_rare_parts_of_the_contract_work(method):
    pytest.importorskip("torch")
    check_method(method)


# -- planted faults


class Honest(ER):
    """Experience replay in its simplest form: what the faulty ones below start from."""

    name, contract = "honest", 1


class OwnDice(Honest):
    name = "own-dice"

    def current_term(self, logits, part, whole):
        value, gradient = super().current_term(logits, part, whole)
        return value, gradient * np.float32(np.random.default_rng().uniform(0.9, 1.1))


class GlobalDice(Honest):
    name = "global-dice"

    def current_term(self, logits, part, whole):
        np.random.random()
        return super().current_term(logits, part, whole)


class Forgets(Honest):
    """Counts its steps and does not save the count."""

    name = "forgets"
    steps = 0

    def after_step(self, c, result):
        self.steps += 1

    def term_weights(self, batch, replay):
        return 1.0 + 0.1 * (self.steps % 3), [1.0] * len(replay)


class ForgetsInAPhase(Honest):
    """Whether a phase has begun is known in RAM alone."""

    name = "forgets-in-a-phase"
    begun = False

    @property
    def needs(self):
        return Needs(draws=1, passes=Passes(epochs=2.0))

    def begin_task(self, c):
        return [Phase("task", steps=4)]

    def train_step(self, c, batch, replay, lr, **how):
        if c.phase is not None:
            lr, self.begun = (0.5 * lr if self.begun else lr), True
        return super().train_step(c, batch, replay, lr, **how)


class SavesAList(Honest):
    name = "saves-a-list"

    def state(self):
        return {"steps": [1, 2, 3]}


class Hoards(Honest):
    name = "hoards"

    def state(self):
        return {"all": np.zeros(2000, np.float32)}


class MaskIgnored(Honest):
    name = "mask-ignored"

    def train_step(self, c, batch, replay, lr, *, micro_batch=None, before_step=None):
        return super().train_step(c, batch, replay, lr, micro_batch=micro_batch)


class TwoSteps(Honest):
    name = "two-steps"

    def train_step(self, c, batch, replay, lr, **how):
        result = super().train_step(c, batch, replay, lr, **how)
        c.engine.step(0.0)
        return result


class Whole(Honest):
    """Has no regard for micro-batches: the loss of each is a mean of its own."""

    name = "whole"

    def current_term(self, logits, part, whole):
        return cross_entropy(logits, part.y)


class LargeForward(Honest):
    name = "large-forward"

    def train_step(self, c, batch, replay, lr, **how):
        x = np.concatenate([batch.x] * 8)
        c.engine.forward({c.engine.model.graph.input: x})
        return super().train_step(c, batch, replay, lr, **how)


class UndeclaredSide(Honest):
    name = "undeclared-side"

    def after_step(self, c, result):
        c.engine.side("ema").blend(0.9)


class SideForShow(Honest):
    name = "side-for-show"

    @property
    def needs(self):
        return Needs(draws=1, sides=("teacher",))


class ArrayForShow(Honest):
    name = "array-for-show"

    @property
    def needs(self):
        return Needs(draws=1, per_weight=("fisher",))


class CopiesForShow(Honest):
    name = "copies-for-show"

    @property
    def needs(self):
        return Needs(draws=1, gradient_copies=1)


class CopiesUndeclared(Honest):
    name = "copies-undeclared"

    def train_step(self, c, batch, replay, lr, **how):
        c.engine.gradients.copy()
        return super().train_step(c, batch, replay, lr, **how)


class PassesUndeclared(Honest):
    name = "passes-undeclared"

    def train_step(self, c, batch, replay, lr, **how):
        c.evaluate(batch.x)
        return super().train_step(c, batch, replay, lr, **how)


class PassesForShow(Honest):
    name = "passes-for-show"

    @property
    def needs(self):
        return Needs(draws=1, passes=Passes(forward=1.0))


class PhasesUndeclared(Honest):
    name = "phases-undeclared"

    def end_task(self, c):
        return [Phase("memory", epochs=1)]


class FieldUndeclared(Honest):
    name = "field-undeclared"

    def offer_fields(self, result, width):
        return {"loss": np.zeros((len(result.logits_current), 1), np.float32)}


class FieldOfAnotherType(Honest):
    name = "field-of-another-type"

    @property
    def needs(self):
        return Needs(draws=1, fields=(Field("loss", "float16", 1),))

    def offer_fields(self, result, width):
        return {"loss": np.zeros((len(result.logits_current), 1))}


class PredictionsCount(Honest):
    """Asking it changes it."""

    name = "predictions-count"
    asked = 0

    def scores(self, outs, seen_units=None):
        self.asked += 1
        return super().scores(outs, seen_units)

    def state(self):
        return {"asked": np.array([self.asked])}

    def load(self, state):
        self.asked = int(state["asked"][0])


class ScoresUnseen(Honest):
    name = "scores-unseen"

    def scores(self, outs, seen_units=None):
        return outs["logits"]


class ScoresOfOldWidth(Honest):
    """Keeps an array of as many classes as there were at first."""

    name = "scores-of-old-width"
    bias: np.ndarray | None = None

    def scores(self, outs, seen_units=None):
        if self.bias is None:
            self.bias = np.zeros(outs["logits"].shape[1], np.float32)
        return super().scores({**outs, "logits": outs["logits"] + self.bias}, seen_units)


class NeedsAPair(Honest):
    """A class seen once has no variance."""

    name = "needs-a-pair"

    def current_term(self, logits, part, whole):
        for unit in np.unique(whole.y) if (whole.task or 0) > 0 else ():
            if (whole.y == unit).sum() < 2:
                raise ValueError(f"only one sample of {unit}")
        return super().current_term(logits, part, whole)


class NeedsAMemory(Honest):
    name = "needs-a-memory"

    def term_weights(self, batch, replay):
        return 1.0 / len(replay), [1.0 / len(replay)]


class NeedsAFullBatch(Honest):
    name = "needs-a-full-batch"
    rows = 0

    def train_step(self, c, batch, replay, lr, **how):
        self.rows = max(self.rows, len(batch))
        batch.y.reshape(-1, 8)
        return super().train_step(c, batch, replay, lr, **how)


class Writes(Honest):
    name = "writes"

    def train_step(self, c, batch, replay, lr, **how):
        batch.x[:] += 1
        return super().train_step(c, batch, replay, lr, **how)


class KnowsTheEngine(Honest):
    name = "knows-the-engine"

    def current_term(self, logits, part, whole):
        value, gradient = super().current_term(logits, part, whole)
        return value, gradient * np.float32(2.0 if self.odd else 1.0)

    odd = False

    def train_step(self, c, batch, replay, lr, **how):
        self.odd = type(c.engine).__name__ == "TorchEngine"
        return super().train_step(c, batch, replay, lr, **how)


class ReturnsNothing(Honest):
    name = "returns-nothing"

    def train_step(self, c, batch, replay, lr, **how):
        super().train_step(c, batch, replay, lr, **how)


class MiscountsRows(Honest):
    name = "miscounts-rows"

    def train_step(self, c, batch, replay, lr, **how) -> StepResult:
        return replace(super().train_step(c, batch, replay, lr, **how), samples=1)


class OtherContract(Honest):
    name, contract = "other-contract", 2


class HiddenOption(Honest):
    """Takes an argument that it does not declare."""

    name = "hidden-option"

    def __init__(self, power, **given):
        super().__init__(**given)
        self.power = power


class Contradicts(Honest):
    name = "contradicts"

    @property
    def needs(self):
        return Needs(draws=1, merged=True)


FAULTS = {
    OwnDice: r"the same seed gives other bits the second time.*Context\.rng",
    GlobalDice: r"drew from numpy's own generator.*Context\.rng",
    Forgets: r"saved here and resumed, other bits.*Read edgecl\.methods\.Method\.state",
    ForgetsInAPhase: r"in phase 1 before the epochs of task \d: saved here and resumed, other bits",
    SavesAList: r"state\(\) holds something else than arrays",
    Hoards: r"state\(\) holds 8000 bytes, 1024 are planned.*Needs\.statistics",
    MaskIgnored: r"called before_step 0 times, not once",
    TwoSteps: r"took 2 steps of the engine, not one",
    Whole: r"micro-batches of 3 rows change what a step learns",
    LargeForward: r"A batch of 64 exceeds the planned 16",
    UndeclaredSide: r"The plan has no side 'ema'",
    SideForShow: r"the side 'teacher' is declared and was never written.*Needs\.sides",
    ArrayForShow: r"the array 'fisher' per weight is declared and was never written",
    CopiesForShow: r"gradient copies are declared and none was made",
    CopiesUndeclared: r"copied the gradient 1 times in a step, 0 are declared",
    PassesUndeclared: r"a step took \d+ FLOPs, \d+ are planned.*Needs\.passes",
    PassesForShow: r"no step took more than \d+ FLOPs, and \d+ are planned",
    PhasesUndeclared: r"its phases have taken 1 steps; declared are 0 for each of 3 tasks",
    FieldUndeclared: r"stores the fields \['loss'\] and declares \[\]",
    FieldOfAnotherType: r"field 'loss' is float64 \(8, 1\), declared float16 \(8, 1\)",
    PredictionsCount: r"a prediction changed its state.*Method\.scores",
    ScoresUnseen: r"a class without a sample has a score",
    ScoresOfOldWidth: r"when the head grew to 12 units.*could not be broadcast.*Method\.scores",
    NeedsAPair: r"failed in train_step: ValueError: only one sample of 3",
    NeedsAMemory: r"at step 1 of task 1: .*failed in train_step: ZeroDivisionError",
    NeedsAFullBatch: r"at step 3 of task 1: .*cannot reshape array of size 6",
    Writes: r"wrote into the samples or labels it was given",
    ReturnsNothing: r"train_step returned NoneType, not a StepResult",
    MiscountsRows: r"says that 1 rows went through the network, of 8 to 8",
    OtherContract: r"says contract 2, this version has 1",
    HiddenOption: r"cannot be made again from its options.*power",
    Contradicts: r"draws replay and merges it into its batches",
}


def test_the_method_that_the_faults_are_planted_in_passes():
    check_method(Honest, engines=("native",))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda c: c.name)
def test_a_broken_contract_is_told(fault):
    with pytest.raises(AssertionError, match=f"(?s)^Method '{fault.name}'.*{FAULTS[fault]}"):
        check_method(fault, engines=("native",))


def test_a_method_that_does_something_else_on_another_engine_is_told():
    pytest.importorskip("torch")
    with pytest.raises(AssertionError, match="differs from the torch engine after the same step"):
        check_method(KnowsTheEngine)


@pytest.mark.parametrize(("what", "words"), [("no-such", "cannot be had"), (int, "is no Method")])
def test_what_is_no_method_is_told(what, words):
    with pytest.raises(AssertionError, match=words):
        check_method(what)
