"""check_operator: does an operator keep the contract? Run it in the tests of your own operator."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..errors import EdgeclError, require
from ..graph.registry import Operator, operators
from .operator_case import OperatorCase
from .operator_network import difference_alone

Array = np.ndarray
CLOSE = 1e-9  # of values in float64, relative to the largest, or to 1
CLOSE_GRADIENT = 1e-8
STEP = 1e-6  # of central differences
CLOSE_DIFFERENCE = 2e-4  # of a central difference, relative to the sum of its terms


def check_operator(
    entry: Operator,
    cases: Iterable[OperatorCase],
    engines: Sequence[str] = ("native", "torch"),
    *,
    gradient: bool = True,
) -> None:
    """Try an operator on each of ``cases``. Raises AssertionError, saying what broke, on which shapes, and where to
    read, unless

    - it is an `Operator` that is registered under its name, with attributes of plain values;
    - `shape` is that of what `forward` returns, and refuses a number of inputs it does not take with `EdgeclError`;
    - `forward` gives the same bits again, in the dtype of its inputs, finite, and writes into nothing it is given; in
      prediction a sample's result does not depend on the others of its batch;
    - `backward` returns a gradient for each input (None: zero) and each trained parameter, of their shapes, and they
      are the derivatives of `forward` by central differences, in training and in prediction;
    - `torch` gives the same values and, by autograd, the same gradients;
    - multiply-adds are whole numbers, none below zero;
    - alone in a network, each engine agrees with the float64 reference: values, gradients, prediction.

    Parameters
    ----------
    entry : as it was registered
    cases : shapes and attributes to try, ugly ones among them: one position, odd sizes, one channel
    engines : an operator without a kernel is tried on ``torch`` alone; none: the reference alone (torch is needed too)
    gradient : False for an operator whose gradient is taken for zero where it is none (a rounding)
    """
    _declared(entry)
    tried = False
    for case in cases:
        tried = True
        _shape(entry, case)
        for training in (True, False):
            _forward(entry, case, training)
        for training in (True, False):
            if gradient:
                _backward(entry, case, training)
                _is_derivative(entry, case, training)
            _twin(entry, case, training, gradient)
        _costs(entry, case)
        for kind in engines:
            _on_engine(entry, case, kind)
    if not tried:
        raise AssertionError(f"Operator '{entry.name}' was tried on no case. Give check_operator some.")


def _broken(entry: Operator, what: str, where: str, case: OperatorCase | None = None) -> AssertionError:
    at = "" if case is None else f" (shapes {[tuple(s) for s in case.shapes]}, {dict(case.attributes)})"
    return AssertionError(f"Operator '{entry.name}' {what}{at}. Read edgecl.graph.registry.Operator.{where}.")


# -- what it is


def _declared(entry: Operator) -> None:
    if not isinstance(entry, Operator):
        raise AssertionError(f"{entry!r} is no Operator: give an object. Read edgecl.graph.registry.Operator.")
    if not entry.name.isidentifier():
        raise _broken(entry, "has no name of one word", "name")
    if operators().get(entry.name) is not entry:
        raise _broken(entry, "is not registered under its name: call edgecl.graph.registry.register", "name")
    try:
        json.dumps(dict(entry.optional_attributes))
    except TypeError as error:
        raise _broken(entry, f"has attributes that are no plain values: {error}", "optional_attributes") from error


def _shape(entry: Operator, case: OperatorCase) -> None:
    attributes = case.full(entry)
    kept = json.dumps(attributes, sort_keys=True)
    found = entry.shape([tuple(s) for s in case.shapes], attributes)
    if not isinstance(found, tuple) or not all(type(n) is int and n > 0 for n in found):
        raise _broken(entry, f"has the output shape {found!r}, no tuple of whole numbers above zero", "shape", case)
    if json.dumps(attributes, sort_keys=True) != kept:
        raise _broken(entry, "changes its attributes", "shape", case)
    for wrong in ([], [*case.shapes, *case.shapes, *case.shapes, (1,)]):
        if not case.shapes:
            break
        try:
            entry.shape(wrong, attributes)
        except EdgeclError:
            continue
        except Exception as error:
            how = f"meets {len(wrong)} inputs with {type(error).__name__}, not with EdgeclError"
            raise _broken(entry, how, "shape", case) from error
        if not wrong:
            raise _broken(entry, "takes no input as well as some", "shape", case)


# -- its values


def _given(entry: Operator, case: OperatorCase, dtype: Any = np.float64) -> tuple[list[Array], dict[str, Array]]:
    inputs, params = case.arrays(entry, dtype)
    for array in (*inputs, *params.values()):
        array.flags.writeable = False
    return inputs, params


def _call(entry: Operator, case: OperatorCase, hook: Callable[..., Any], *given: Any) -> Any:
    try:
        return hook(*given)
    except ValueError as error:
        if "read-only" in str(error):
            raise _broken(entry, "writes into an array that it is given", hook.__name__, case) from error
        raise


def _forward(entry: Operator, case: OperatorCase, training: bool) -> None:
    attributes = case.full(entry)
    declared = entry.shape([tuple(s) for s in case.shapes], attributes)
    for dtype in (np.float64, np.float32):
        inputs, params = _given(entry, case, dtype)
        y = _call(entry, case, entry.forward, inputs, params, attributes, training)[0]
        batch = case.batch if case.shapes else 1
        if y.shape != (batch, *declared):
            raise _broken(entry, f"returns {y.shape}, its shape rule says {(batch, *declared)}", "shape", case)
        if y.dtype != dtype:
            raise _broken(entry, f"makes {y.dtype} of {np.dtype(dtype)}", "forward", case)
        if not np.isfinite(y).all():
            raise _broken(entry, "returns values that are not finite", "forward", case)
        if not np.array_equal(y, entry.forward(inputs, params, attributes, training)[0]):
            raise _broken(entry, "gives other bits the second time", "forward", case)
    if training or not case.shapes:
        return
    inputs, params = _given(entry, case)
    whole = entry.forward(inputs, params, attributes, False)[0]
    for i in range(case.batch):
        row = {k: v[i : i + 1] if v.dtype == bool else v for k, v in params.items()}
        if not _near(entry.forward([x[i : i + 1] for x in inputs], row, attributes, False)[0], whole[i : i + 1]):
            raise _broken(entry, "gives other values for a sample alone than among others", "forward", case)


def _seed(case: OperatorCase, shape: tuple[int, ...]) -> Array:
    seed = np.random.default_rng(case.seed + 1).normal(size=shape)
    seed.flags.writeable = False
    return seed


def _gradients(
    entry: Operator, case: OperatorCase, training: bool
) -> tuple[list[Array], dict[str, Array], list[Array], dict[str, Array]]:
    """(inputs, parameters, gradients of inputs, gradients of trained parameters)."""
    inputs, params = _given(entry, case)
    attributes = case.full(entry)
    y, context = entry.forward(inputs, params, attributes, training)
    seed = _seed(case, y.shape)
    of_inputs, of_params = _call(entry, case, entry.backward, seed, context, params, attributes)
    return inputs, params, of_inputs, of_params


def _backward(entry: Operator, case: OperatorCase, training: bool) -> None:
    inputs, params, of_inputs, of_params = _gradients(entry, case, training)
    if len(of_inputs) != len(inputs):
        raise _broken(entry, f"returns {len(of_inputs)} gradients for {len(inputs)} inputs", "backward", case)
    trained = {name for name, spec in case.specs(entry).items() if spec.trained}
    if set(of_params) != trained:
        what = f"returns gradients of {sorted(of_params)}, trained are {sorted(trained)}"
        raise _broken(entry, what, "backward", case)
    for gradient, value in [*zip(of_inputs, inputs), *((g, params[n]) for n, g in of_params.items())]:
        if gradient is not None and gradient.shape != value.shape:
            raise _broken(entry, f"returns a gradient {gradient.shape} for {value.shape}", "backward", case)


def _is_derivative(entry: Operator, case: OperatorCase, training: bool) -> None:
    inputs, params, of_inputs, of_params = _gradients(entry, case, training)
    attributes, rng = case.full(entry), np.random.default_rng(case.seed + 2)
    arrays: dict[Any, Array] = {**dict(enumerate(inputs)), **params}

    def value(key: Any, array: Array) -> float:
        at = {**arrays, key: array}
        given = [at[i] for i in range(len(inputs))]
        y = entry.forward(given, {n: at[n] for n in params}, attributes, training)[0]
        return float((y * _seed(case, y.shape)).sum())

    found: list[tuple[Any, Array | None]] = [*enumerate(of_inputs), *of_params.items()]
    for key, gradient in found:
        array = arrays[key]
        gradient = np.zeros(array.shape) if gradient is None else gradient
        direction = rng.normal(size=array.shape)
        up, down = (value(key, array + h * direction) for h in (STEP, -STEP))
        terms = gradient * direction
        expected = float(terms.sum())
        scale = max(1.0, abs(expected), float(np.abs(terms).sum()))
        if not abs((up - down) / (2 * STEP) - expected) <= CLOSE_DIFFERENCE * scale:
            what = f"input {key}" if isinstance(key, int) else f"'{key}'"
            when = "training" if training else "prediction"
            raise _broken(entry, f"has a gradient of {what} that is not its derivative, in {when}", "backward", case)


def _near(ours: Array, theirs: Array, close: float = CLOSE) -> bool:
    if ours.shape != theirs.shape:
        return False
    scale = max(1.0, float(np.abs(theirs).max(initial=0)))
    return bool(np.abs(ours - theirs).max(initial=0) <= close * scale)


def _twin(entry: Operator, case: OperatorCase, training: bool, gradient: bool) -> None:
    torch: Any = require("torch", "torch")
    inputs, params, attributes = *_given(entry, case), case.full(entry)
    trained = {name for name, spec in case.specs(entry).items() if spec.trained}
    tensors = [torch.tensor(x, requires_grad=True) for x in inputs]
    twins = {k: torch.tensor(v, requires_grad=k in trained) for k, v in params.items()}
    expected, context = entry.forward(inputs, params, attributes, training)
    found = entry.torch(tensors, twins, attributes, training)
    if not _near(expected, found.detach().numpy()):
        raise _broken(entry, "gives other values in torch", "torch", case)
    if not gradient:
        return
    seed = _seed(case, expected.shape)
    if found.requires_grad:
        found.backward(torch.tensor(seed))
    of_inputs, of_params = entry.backward(seed, context, params, attributes)
    pairs = [(f"input {i}", ours, tensors[i]) for i, ours in enumerate(of_inputs)]
    pairs += [(f"'{name}'", ours, twins[name]) for name, ours in of_params.items()]
    for what, ours, tensor in pairs:
        theirs = np.zeros(tuple(tensor.shape)) if tensor.grad is None else tensor.grad.numpy()
        if not _near(np.zeros(theirs.shape) if ours is None else ours, theirs, CLOSE_GRADIENT):
            raise _broken(entry, f"has another gradient of {what} in torch", "torch", case)


# -- its cost, and the engines


def _costs(entry: Operator, case: OperatorCase) -> None:
    attributes, shapes = case.full(entry), [tuple(s) for s in case.shapes]
    counts = {
        "macs": entry.macs(shapes, attributes),
        "weight_positions": entry.weight_positions(shapes, entry.shape(shapes, attributes)),
    }
    for where, count in counts.items():
        if not isinstance(count, (int, np.integer)) or count < 0:
            raise _broken(entry, f"counts {count!r} multiply-adds", where, case)


def _on_engine(entry: Operator, case: OperatorCase, kind: str) -> None:
    try:
        different = difference_alone(entry, case, kind)
    except EdgeclError as error:
        if "has no kernel" not in str(error):
            raise
        how = "has no kernel: check it with engines=('torch',), or write one (docs/extend/own_operator.md)"
        raise _broken(entry, how, "forward", case) from error
    if different:
        raise _broken(entry, f"differs on the {kind} engine from its reference in {different}", "forward", case)
