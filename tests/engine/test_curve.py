"""Over 100 steps the native engine drifts from torch no further than torch drifts from itself."""

import numpy as np
import pytest

from edgecl.compiler import Optimizer, compile_plan
from edgecl.engine import Model
from edgecl.engine.native import NativeEngine
from edgecl.graph import operator
from edgecl.graph.builders import build
from edgecl.methods.losses import cross_entropy

STEPS, BATCH, LR, MOMENTUM = 100, 16, 0.02, 0.9
SHAPE, CLASSES = (3, 16, 16), 5


def make(seed):
    graph = build("cnn", SHAPE, CLASSES, input_dtype="float32", widths=(8, 16, 16))
    model = Model(graph, np.random.default_rng(seed))
    for name in graph.prunable():
        rng = np.random.default_rng(seed + 1)
        model[name].set_pattern(np.flatnonzero(rng.random(model[name].spec.size) < 0.5).astype(np.int32))
    rng = np.random.default_rng(seed + 2)
    centres = rng.normal(size=(CLASSES, *SHAPE)).astype(np.float32)
    y = rng.integers(0, CLASSES, (STEPS, BATCH))
    x = centres[y] + rng.normal(scale=2.0, size=(STEPS, BATCH, *SHAPE)).astype(np.float32)
    return graph, model, x, y


def native_curve(seed):
    graph, model, x, y = make(seed)
    plan = compile_plan(graph, batch=BATCH, optimizer=Optimizer(momentum=MOMENTUM))
    engine, losses = NativeEngine(model, plan), []
    for i in range(STEPS):
        loss, gradient = cross_entropy(engine.forward({"input": x[i]})["logits"], y[i])
        engine.backward({"logits": gradient})
        engine.step(LR)
        losses.append(loss)
    return np.array(losses)


def torch_curve(seed, channels_last):
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    graph, model, x, y = make(seed)
    leaves, masks = {}, {}
    for name, p in model.parameters.items():
        leaves[name] = torch.tensor(p.dense(), requires_grad=p.spec.trained)
        if p.pattern is not None:
            masks[name] = torch.tensor(p.dense(np.ones(p.living, np.float32)))
    trained = [t for t in leaves.values() if t.requires_grad]
    optimizer = torch.optim.SGD(trained, LR, momentum=MOMENTUM)
    losses = []
    for i in range(STEPS):
        sample = torch.from_numpy(x[i])
        if channels_last:
            sample = sample.contiguous(memory_format=torch.channels_last)
        tensors = {"input": sample}
        for node in graph.nodes:
            params = {n.rpartition(".")[2]: leaves[n] for n in node.parameters}
            if channels_last and node.op == "conv2d":
                params["weight"] = params["weight"].contiguous(memory_format=torch.channels_last)
            inputs = [tensors[i] for i in node.inputs]
            tensors[node.output] = operator(node.op).torch(inputs, params, node.attributes, True)
        loss = torch.nn.functional.cross_entropy(tensors[graph.logits], torch.from_numpy(y[i]))
        optimizer.zero_grad()
        loss.backward()
        for name, mask in masks.items():
            leaves[name].grad *= mask
        optimizer.step()
        losses.append(float(loss.detach()))
    return np.array(losses)


def test_the_native_curve_is_as_close_to_torch_as_torch_to_itself():
    # In half the runs a unit at zero flips on its last bit and the curves part by 1e-3 and more, torch's as ours: on
    # which ones depends on the processor. The best runs tell rounding from a fault, which is there in every run.
    ours, theirs = [], []
    for seed in range(9):
        contiguous = torch_curve(seed, False)
        assert contiguous[-20:].mean() < 0.7 * contiguous[:20].mean()  # it learns
        ours.append(np.abs(native_curve(seed) - contiguous).max())
        theirs.append(np.abs(torch_curve(seed, True) - contiguous).max())
    assert np.min(theirs) > 0  # the two formats do round differently
    assert np.sort(ours)[1] <= 3 * np.sort(theirs)[1], (ours, theirs)
