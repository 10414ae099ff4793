"""One optimizer step on one parameter in numpy: the reference of the kernels, and what the torch engine runs.

Weights outside the gradient subset are never touched: value and moments stay bit-equal, no weight decay.
"""

from __future__ import annotations

import numpy as np

from ..compiler import Optimizer
from ..errors import BadInput
from .model import Parameter

Array = np.ndarray


def check_optimizer(optimizer: Optimizer) -> None:
    if optimizer.kind not in ("sgd", "adam"):
        raise BadInput(f"Optimizer '{optimizer.kind}' is not supported.", "Use sgd or adam.")


def update(p: Parameter, gradient: Array, optimizer: Optimizer, lr: float) -> None:
    """Move ``p`` by ``gradient`` [living] in place; nothing happens when it is frozen or not trained.

    sgd, as torch: g += weight_decay * w; buffer = momentum * buffer + g; w -= lr * buffer.
    adam (Kingma and Ba 2015), as torch: bias-corrected by the parameter's step count, weight decay in g.
    """
    if p.frozen or not p.spec.trained:
        return
    at = slice(None) if p.gradient_subset is None else p.gradient_subset
    w, g = p.values[at], gradient[at].astype(np.float32)
    if optimizer.weight_decay:
        g += np.float32(optimizer.weight_decay) * w
    if optimizer.kind == "adam":
        p.step_count += 1
        p.values[at] = w - _adam(p, at, g, optimizer, lr)
        return
    if optimizer.momentum:
        g = np.float32(optimizer.momentum) * p.moments["momentum"][at] + g
        p.moments["momentum"][at] = g
    p.values[at] = w - np.float32(lr) * g


def _adam(p: Parameter, at: slice | Array, g: Array, o: Optimizer, lr: float) -> Array:
    m = p.moments["adam_m"][at]
    m = m + np.float32(1 - o.beta1) * (g - m)
    v = np.float32(o.beta2) * p.moments["adam_v"][at] + np.float32(1 - o.beta2) * (g * g)
    p.moments["adam_m"][at] = m
    p.moments["adam_v"][at] = v
    correction1 = 1 - o.beta1**p.step_count
    correction2 = np.sqrt(1 - o.beta2**p.step_count)
    return np.float32(lr / correction1) * m / (np.sqrt(v) / np.float32(correction2) + np.float32(o.epsilon))
