"""LSTM, GRU and RNN of ONNX."""

from __future__ import annotations

import numpy as np

from ..emit import Emit
from ..foreign import Missing, Mixes, Unsupported, Value
from ..onnx_forms import Form
from .registry import onnx

DEFAULT_ACTIVATIONS = {"LSTM": ["sigmoid", "tanh", "tanh"], "GRU": ["sigmoid", "tanh"], "RNN": ["tanh"]}


@onnx("LSTM", "GRU", "RNN")
def _recurrent(emit: Emit, form: Form) -> tuple[Value, ...]:
    x = emit.data(form.input(0))
    w, r = form.array(emit, 1, "weights"), form.array(emit, 2, "recurrent weights")
    directions, hidden = w.shape[0], r.shape[-1]
    wanted = [a.lower() for a in form.attribute("activations", [])]
    if wanted and wanted != DEFAULT_ACTIVATIONS[form.op] * directions:
        raise Unsupported(f"uses other activations (activations={wanted})")
    for name in ("clip", "input_forget"):
        if form.attribute(name):
            raise Unsupported(f"uses {name}={form.attribute(name)}")
    if form.get(7) is not None and np.any(form.array(emit, 7, "peepholes")):
        raise Unsupported("uses peepholes (P)")
    own = emit.foreign(x)
    lengths = form.get(4)
    if (
        lengths is not None
        and not (np.ravel(emit.fixed(lengths, "sequence_lens")) == own[int(form.attribute("layout", 0))]).all()
    ):
        raise Unsupported("uses sequences of different lengths (sequence_lens)")
    for i in (5, 6):
        if form.get(i) is not None and np.any(emit.fixed(form.input(i), "initial state")):
            raise Unsupported("starts from a state that is not zero (initial_h, initial_c)")
    across = int(form.attribute("layout", 0))  # 1: [B, T, F]
    single = x.batch is None
    if single:  # of one sample: [T, 1, F]
        if own[1 - across] != 1:
            raise Mixes
        x = emit._as(x, [own[across], own[2]], 1 - across)
    if x.batch != 1 - across:
        raise Mixes
    sequence = emit._as(x, x.shape, 0)
    n = {"LSTM": 4, "GRU": 3, "RNN": 1}[form.op] * hidden
    bias = np.zeros((directions, 2 * n), np.float32) if form.get(3) is None else form.array(emit, 3, "bias")
    outputs = []
    for d in range(directions):
        reverse = form.attribute("direction", "forward") == "reverse" or d == 1
        wd, rd, bi, br = (_gates(form.op, v, hidden) for v in (w[d], r[d], bias[d][:n], bias[d][n:]))
        more = {"reset_after": bool(form.attribute("linear_before_reset", 0))} if form.op == "GRU" else {}
        outputs.append(emit.recurrent(form.op.lower(), sequence, wd, rd, bi, br, reverse=reverse, **more))
    lasts = []
    for d, y in enumerate(outputs):  # (T, H) of each sample
        reverse = form.attribute("direction", "forward") == "reverse" or d == 1
        at = 0 if reverse else y.shape[0] - 1
        lasts.append(emit.data(emit.slice(y, 1, at, at + 1)))
    joined = [emit.data(emit.unsqueeze(y, [2])) for y in outputs]  # [B, T, 1, H]
    whole: Value = emit.concat(joined, 2) if directions > 1 else joined[0]
    last: Value = emit.concat(lasts, 1) if directions > 1 else lasts[0]  # [B, D, H]
    y_all: Value = whole if across else emit.transpose(whole, [1, 2, 0, 3])
    y_last: Value = last if across else emit.transpose(last, [1, 0, 2])
    if single:
        y_all, y_last = (_as_one_sample(emit, v) for v in (y_all, y_last))
    return y_all, y_last, Missing("the last cell state (Y_c)")  # type: ignore[return-value]


def _as_one_sample(emit: Emit, value: Value) -> Value:
    """With the batch as an axis of size 1 of the whole foreign tensor."""
    return emit._as(emit.data(value), [1 if n == emit.many else n for n in emit.foreign(value)], None)


def _gates(op: str, value: np.ndarray, hidden: int) -> np.ndarray:
    """From ONNX's order of gates to torch's: i o f c -> i f g o, z r h -> r z n."""
    if op == "RNN":
        return value
    order = {"LSTM": [0, 2, 3, 1], "GRU": [1, 0, 2]}[op]
    parts = [value[i * hidden : (i + 1) * hidden] for i in order]
    return np.concatenate(parts)
