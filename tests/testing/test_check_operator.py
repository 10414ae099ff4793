"""check_operator lets an honest operator pass and catches each kind of broken contract, saying what broke and where."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest

from edgecl.errors import BadInput
from edgecl.graph import operator
from edgecl.graph.graph import ParameterSpec
from edgecl.graph.registry import _OPERATORS, Operator, register
from edgecl.testing import OperatorCase, check_operator

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

CASES = [OperatorCase([(5,)]), OperatorCase([(2, 3, 1)], {"slope": 0.3}, batch=2, seed=1)]


class Honest(Operator):
    """x where it is positive, slope * gain * x elsewhere, with a learned gain per channel."""

    name = "honest_slope"
    optional_attributes: ClassVar[Mapping[str, Any]] = {"slope": 0.1}

    def shape(self, inputs, attributes):
        if len(inputs) != 1:
            raise BadInput(f"'{self.name}' takes one input, not {len(inputs)}.", "Give it one.")
        return tuple(inputs[0])

    def parameters(self, inputs, attributes):
        return {"gain": ParameterSpec("", (inputs[0][0],), "scale", "ones")}

    def slopes(self, x, params, attributes):
        return (attributes["slope"] * params["gain"]).reshape(-1, *[1] * (x.ndim - 2)).astype(x.dtype)

    def forward(self, inputs, params, attributes, training):
        (x,) = inputs
        return np.where(x > 0, x, x * self.slopes(x, params, attributes)), x

    def backward(self, grad, context, params, attributes):
        x = context
        of_gain = np.where(x > 0, 0, grad * x * attributes["slope"])
        axes = tuple(i for i in range(x.ndim) if i != 1)
        to_x = np.where(x > 0, grad, grad * self.slopes(x, params, attributes))
        return [to_x], {"gain": of_gain.sum(axis=axes)}

    def torch(self, inputs, params, attributes, training):
        (x,) = inputs
        slopes = (attributes["slope"] * params["gain"]).reshape(-1, *[1] * (x.ndim - 2))
        return torch.where(x > 0, x, x * slopes)


@pytest.fixture(autouse=True)
def own_operators():
    before = dict(_OPERATORS)
    yield
    _OPERATORS.clear()
    _OPERATORS.update(before)


def test_an_honest_operator_passes_on_the_torch_engine():
    check_operator(register(Honest()), CASES, engines=("torch",))


def test_ours_pass_on_both_engines():
    check_operator(operator("hard_sigmoid"), [OperatorCase([(4,)]), OperatorCase([(2, 1, 7)], seed=3)])


class OtherShape(Honest):
    def shape(self, inputs, attributes):
        return (*super().shape(inputs, attributes), 1)


class TakesNothing(Honest):
    def shape(self, inputs, attributes):
        return tuple(inputs[0])


class WrongSlope(Honest):
    def backward(self, grad, context, params, attributes):
        (to_x,), of_params = super().backward(grad, context, params, attributes)
        return [to_x * 1.001], of_params


class GradientForgotten(Honest):
    def backward(self, grad, context, params, attributes):
        return super().backward(grad, context, params, attributes)[0], {}


class GradientOfMeans(Honest):
    def backward(self, grad, context, params, attributes):
        to_inputs, of_params = super().backward(grad, context, params, attributes)
        return to_inputs, {k: g / len(grad) for k, g in of_params.items()}


class GradientOfOtherShape(Honest):
    def backward(self, grad, context, params, attributes):
        to_inputs, of_params = super().backward(grad, context, params, attributes)
        return to_inputs, {k: g[None] for k, g in of_params.items()}


class OneGradientTooMany(Honest):
    def backward(self, grad, context, params, attributes):
        to_inputs, of_params = super().backward(grad, context, params, attributes)
        return [*to_inputs, None], of_params


class OtherInTorch(Honest):
    def torch(self, inputs, params, attributes, training):
        return super().torch(inputs, params, attributes, training) + 1e-6


class DetachedInTorch(Honest):
    def torch(self, inputs, params, attributes, training):
        return super().torch(inputs, {k: v.detach() for k, v in params.items()}, attributes, training)


class WritesIntoInputs(Honest):
    def forward(self, inputs, params, attributes, training):
        inputs[0][inputs[0] < -100] = 0
        return super().forward(inputs, params, attributes, training)


class WritesIntoTheGradient(Honest):
    def backward(self, grad, context, params, attributes):
        grad *= 1
        return super().backward(grad, context, params, attributes)


class Unseeded(Honest):
    def forward(self, inputs, params, attributes, training):
        y, context = super().forward(inputs, params, attributes, training)
        return y * (1 + np.random.default_rng().random() / 1000), context


class OfItsBatch(Honest):
    def forward(self, inputs, params, attributes, training):
        y, context = super().forward(inputs, params, attributes, training)
        return y - y.mean(axis=0), context


class AlwaysDouble(Honest):
    def forward(self, inputs, params, attributes, training):
        y, context = super().forward(inputs, params, attributes, training)
        return y.astype(np.float64), context


class NotFinite(Honest):
    def forward(self, inputs, params, attributes, training):
        y, context = super().forward(inputs, params, attributes, training)
        return np.where(y > 1, np.inf, y).astype(y.dtype), context


class CountsHalves(Honest):
    def macs(self, inputs, attributes):
        return inputs[0][0] / 2


class Nameless(Honest):
    name = ""


class NoPlainValues(Honest):
    optional_attributes: ClassVar[Mapping[str, Any]] = {"slope": np.float32(0.1)}


FAULTS = {
    OtherShape: r"its shape rule says",
    TakesNothing: r"meets 0 inputs with IndexError",
    WrongSlope: r"gradient of input 0 that is not its derivative.*Operator\.backward",
    GradientForgotten: r"returns gradients of \[\], trained are \['gain'\]",
    GradientOfMeans: r"gradient of 'gain' that is not its derivative",
    GradientOfOtherShape: r"returns a gradient \(1, 5\) for \(5,\)",
    OneGradientTooMany: r"returns 2 gradients for 1 inputs",
    OtherInTorch: r"other values in torch.*Operator\.torch",
    DetachedInTorch: r"another gradient of 'gain' in torch",
    WritesIntoInputs: r"writes into an array that it is given.*Operator\.forward",
    WritesIntoTheGradient: r"writes into an array that it is given.*Operator\.backward",
    Unseeded: r"other bits the second time",
    OfItsBatch: r"for a sample alone than among others",
    AlwaysDouble: r"makes float64 of float32",
    NotFinite: r"values that are not finite",
    CountsHalves: r"counts 2\.5 multiply-adds.*Operator\.macs",
    Nameless: r"no name of one word",
    NoPlainValues: r"attributes that are no plain values",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda c: c.__name__)
def test_each_fault_is_caught_and_said(fault):
    entry = fault() if fault is Nameless else register(fault())
    with pytest.raises(AssertionError, match=f"(?s){FAULTS[fault]}") as caught:
        check_operator(entry, CASES, engines=("torch",))
    assert "Read edgecl.graph.registry.Operator" in str(caught.value)


def test_an_operator_without_a_kernel_is_told_where_to_read():
    with pytest.raises(AssertionError, match=r"no kernel.*docs/extend/own_operator\.md"):
        check_operator(register(Honest()), CASES)


def test_the_name_of_another_operator_cannot_be_taken():
    register(Honest())
    register(Honest())  # the same class again takes its own place
    taken = type("Taken", (Honest,), {"name": "relu"})
    with pytest.raises(BadInput, match="'relu' already"):
        register(taken())


def test_a_class_an_unregistered_object_and_no_cases_are_refused():
    for entry, words in ((Honest, "give an object"), (Honest(), "not registered")):
        with pytest.raises(AssertionError, match=words):
            check_operator(entry, CASES)
    with pytest.raises(AssertionError, match="on no case"):
        check_operator(operator("relu"), [])
