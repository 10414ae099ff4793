"""LSTM, GRU and RNN of torch."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..emit import Emit
from ..foreign import Unsupported
from .registry import Call, aten


@aten("lstm", "gru", "rnn_tanh")
def _recurrent(emit: Emit, c: Call) -> list[Any]:
    kind = {"lstm": "lstm", "gru": "gru", "rnn_tanh": "rnn"}[c.op]
    if "params" not in c.arguments or "batch_sizes" in c.arguments:
        raise Unsupported("works on packed sequences")
    x, parameters = emit.data(c["input"]), [emit.fixed(p, "weights") for p in c["params"]]
    states = c["hx"] if isinstance(c["hx"], list) else [c["hx"]]
    if any(not isinstance(s, np.ndarray) or np.any(s.ravel()[:1]) or np.any(s) for s in states):
        raise Unsupported("starts from a state that is not zero")
    if c.get("train") and c.get("dropout"):
        raise Unsupported("drops values between its layers")
    batch = 0 if c["batch_first"] else 1
    if x.batch != batch:
        raise Unsupported("mixes the samples of a batch")
    sequence = emit._as(x, x.shape, 0)
    directions, per = 1 + bool(c["bidirectional"]), 4 if c["has_biases"] else 2
    lasts = []
    for layer in range(int(c["num_layers"])):
        outputs = []
        for d in range(directions):
            first = (layer * directions + d) * per
            w, r = parameters[first : first + 2]
            zero = np.zeros(len(w), np.float32)
            bi, br = parameters[first + 2 : first + 4] if c["has_biases"] else (zero, zero)
            more = {"reset_after": True} if kind == "gru" else {}
            y = emit.recurrent(kind, sequence, w, r, bi, br, reverse=d == 1, **more)
            outputs.append(y)
            lasts.append((y, 0 if d == 1 else y.shape[0] - 1))
        sequence = emit.data(emit.concat(outputs, 2)) if directions > 1 else outputs[0]
    out = sequence if batch == 0 else emit.transpose(sequence, [1, 0, 2])
    last = [emit.transpose(emit.slice(y, 1, t, t + 1), [1, 0, 2]) for y, t in lasts]
    return [out, emit.concat(last, 0) if len(last) > 1 else last[0], None]
