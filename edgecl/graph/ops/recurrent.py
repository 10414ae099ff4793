"""lstm (Hochreiter and Schmidhuber 1997), gru (Cho et al. 2014) and rnn: a whole sequence as one operator.

The input is what the gates receive from each step, [T, gates * H]: the product with the input weights is a `linear`
before it, all steps at once. Gates stand as torch orders them: i, f, g, o; r, z, n. States start at zero.

    lstm: i, f, o = sigmoid, g = tanh of x_t + R h_{t-1} + b;  c_t = f c_{t-1} + i g;  h_t = o tanh(c_t)
    gru:  r, z = sigmoid of x_t + R h_{t-1} + b;  h_t = (1 - z) n + z h_{t-1}, with
          n = tanh(x_t + r (R h_{t-1} + b)) where reset_after, else tanh(x_t + R (r h_{t-1}) + b)
    rnn:  h_t = tanh(x_t + R h_{t-1} + b)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...errors import require
from ..graph import ParameterSpec
from ..registry import Operator, register
from ._check import refuse
from .functions import sigmoid


class Recurrent(Operator):
    """attributes: hidden, reverse (from the last step to the first), reset_after (gru). Output [T, H].

    weight [gates * H, H], bias [gates * H] on the recurrent side.
    """

    gates = 1
    optional_attributes: Mapping[str, Any] = {"reverse": False}
    step: Any  # one step: (x, state, params, attributes) -> (state, record)
    back: Any  # and back: (dh, dc, record, params, grads, attributes) -> (dx, dh, dc)
    torch_step: Any

    def shape(self, inputs, attributes):
        hidden = attributes["hidden"]
        if len(inputs) != 1 or len(inputs[0]) != 2 or inputs[0][1] != self.gates * hidden or hidden < 1:
            raise refuse(self.name, inputs, f"it takes (T, {self.gates} * {hidden})")
        return (inputs[0][0], hidden)

    def parameters(self, inputs, attributes):
        hidden = attributes["hidden"]
        return {
            "weight": ParameterSpec("", (self.gates * hidden, hidden), "weight", "kaiming_uniform", hidden),
            "bias": ParameterSpec("", (self.gates * hidden,), "bias", "bias_uniform", hidden),
        }

    def positions(self, output):
        return output[0]

    def _steps(self, x, attributes) -> list[int]:
        order = list(range(x.shape[1]))
        return order[::-1] if attributes["reverse"] else order

    def forward(self, inputs, params, attributes, training):
        (x,) = inputs
        hidden = attributes["hidden"]
        h = np.zeros((x.shape[0], hidden), x.dtype)
        state, kept, y = (h, h), [], np.zeros((*x.shape[:2], hidden), x.dtype)
        for t in self._steps(x, attributes):
            state, record = self.step(x[:, t], state, params, attributes)
            y[:, t] = state[0]
            kept.append(record)
        return y, (x.shape, kept)

    def backward(self, grad, context, params, attributes):
        shape, kept = context
        dx = np.zeros(shape, grad.dtype)
        grads = {k: np.zeros_like(v) for k, v in params.items()}
        dh = np.zeros((shape[0], attributes["hidden"]), grad.dtype)
        dc = np.zeros_like(dh)
        for t, record in zip(reversed(self._steps(dx, attributes)), reversed(kept)):
            dx[:, t], dh, dc = self.back(grad[:, t] + dh, dc, record, params, grads, attributes)
        return [dx], grads

    def torch(self, inputs, params, attributes, training):
        torch = require("torch", "torch")
        (x,) = inputs
        h = x.new_zeros(x.shape[0], attributes["hidden"])
        state, steps = (h, h), []
        for t in self._steps(x, attributes):
            state = self.torch_step(torch, x[:, t], state, params, attributes)
            steps.append(state[0])
        return torch.stack(steps[::-1] if attributes["reverse"] else steps, 1)


class Rnn(Recurrent):
    name = "rnn"

    def step(self, x, state, params, attributes):
        h = np.tanh(x + state[0] @ params["weight"].T + params["bias"])
        return (h, h), (state[0], h)

    def back(self, dh, dc, record, params, grads, attributes):
        before, h = record
        g = dh * (1 - h * h)
        grads["weight"] += g.T @ before
        grads["bias"] += g.sum(0)
        return g, g @ params["weight"], dc

    def torch_step(self, torch, x, state, params, attributes):
        h = torch.tanh(x + state[0] @ params["weight"].T + params["bias"])
        return h, h


class Lstm(Recurrent):
    name = "lstm"
    gates = 4

    def step(self, x, state, params, attributes):
        before, cell = state
        a = x + before @ params["weight"].T + params["bias"]
        i, f, g, o = np.split(a, 4, 1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        c = f * cell + i * g
        return (o * np.tanh(c), c), (before, cell, i, f, g, o, np.tanh(c))

    def back(self, dh, dc, record, params, grads, attributes):
        before, cell, i, f, g, o, t = record
        dc = dc + dh * o * (1 - t * t)
        parts = [dc * g * i * (1 - i), dc * cell * f * (1 - f), dc * i * (1 - g * g), dh * t * o * (1 - o)]
        a = np.concatenate(parts, 1)
        grads["weight"] += a.T @ before
        grads["bias"] += a.sum(0)
        return a, a @ params["weight"], dc * f

    def torch_step(self, torch, x, state, params, attributes):
        before, cell = state
        i, f, g, o = (x + before @ params["weight"].T + params["bias"]).chunk(4, 1)
        c = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class Gru(Recurrent):
    name = "gru"
    gates = 3
    optional_attributes: Mapping[str, Any] = {"reverse": False, "reset_after": True}

    def _split(self, x, before, params, attributes):
        n = attributes["hidden"]
        weight, bias = params["weight"], params["bias"]
        a = x[:, : 2 * n] + before @ weight[: 2 * n].T + bias[: 2 * n]
        return a[:, :n], a[:, n:], x[:, 2 * n :], weight[2 * n :], bias[2 * n :]

    def step(self, x, state, params, attributes):
        before = state[0]
        r, z, xn, weight, bias = self._split(x, before, params, attributes)
        r, z = sigmoid(r), sigmoid(z)
        after = attributes["reset_after"]
        p = (before if after else r * before) @ weight.T + bias
        n = np.tanh(xn + (r * p if after else p))
        h = (1 - z) * n + z * before
        return (h, h), (before, r, z, n, p)

    def back(self, dh, dc, record, params, grads, attributes):
        before, r, z, n, p = record
        k = attributes["hidden"]
        weight = params["weight"]
        dn = dh * (1 - z) * (1 - n * n)
        dz = dh * (before - n) * z * (1 - z)
        if attributes["reset_after"]:
            dp, dr = dn * r, dn * p * r * (1 - r)
            grads["weight"][2 * k :] += dp.T @ before
            dbefore = dh * z + dp @ weight[2 * k :]
        else:
            dp, through = dn, dn @ weight[2 * k :]
            dr = through * before * r * (1 - r)
            grads["weight"][2 * k :] += dp.T @ (r * before)
            dbefore = dh * z + through * r
        gates = np.concatenate([dr, dz], 1)
        grads["weight"][: 2 * k] += gates.T @ before
        grads["bias"] += np.concatenate([gates, dp], 1).sum(0)
        return np.concatenate([gates, dn], 1), dbefore + gates @ weight[: 2 * k], dc

    def torch_step(self, torch, x, state, params, attributes):
        before = state[0]
        r, z, xn, weight, bias = self._split(x, before, params, attributes)
        r, z = r.sigmoid(), z.sigmoid()
        if attributes["reset_after"]:
            n = (xn + r * (before @ weight.T + bias)).tanh()
        else:
            n = (xn + (r * before) @ weight.T + bias).tanh()
        h = (1 - z) * n + z * before
        return h, h


for _entry in (Rnn(), Lstm(), Gru()):
    register(_entry)
