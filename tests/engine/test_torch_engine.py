"""The torch engine against plain torch code, and what only it can do: float64, latent feeds."""

import numpy as np
import pytest
from small_nets import (
    data,
    pass_through,
    relative,
    residual,
    seed_gradient,
    small_cnn,
    small_mlp,
    sparse_model,
    train,
)  # fmt: skip

from edgecl.compiler import Optimizer, Plan, weight_costs
from edgecl.engine import Model
from edgecl.errors import BadInput, unknown_name
from edgecl.testing.reference_pass import reference_pass

torch = pytest.importorskip("torch")
torch.set_num_threads(1)
from edgecl.engine.torch import TorchEngine  # noqa: E402


def engine_for(graph, model=None, optimizer=None, **options):
    model = model or Model(graph, np.random.default_rng(3))
    return TorchEngine(model, Plan(graph, 16, 16, optimizer or Optimizer()), **options)


class Net(torch.nn.Module):
    """`small_cnn` written in plain torch, with the engine's parameter names."""

    def __init__(self, model):
        super().__init__()
        widths = [1, 4, 6, 8]
        for i in (1, 2, 3):
            setattr(self, f"conv{i}", torch.nn.Conv2d(widths[i - 1], widths[i], 3, padding=1, bias=False))
            setattr(self, f"norm{i}", torch.nn.BatchNorm2d(widths[i]))
        self.logits = torch.nn.Linear(8, 4)
        rename = {"scale": "weight", "shift": "bias"}
        state = {}
        for name, p in model.parameters.items():
            module, _, local = name.partition(".")
            state[f"{module}.{rename.get(local, local)}"] = torch.tensor(p.dense())
        self.load_state_dict(state, strict=False)

    def forward(self, x):
        x = x / 255
        for i in (1, 2, 3):
            if i > 1:
                x = torch.nn.functional.max_pool2d(x, 2)
            x = torch.relu(getattr(self, f"norm{i}")(getattr(self, f"conv{i}")(x)))
        return self.logits(x.mean((2, 3)))


@pytest.mark.parametrize(
    "optimizer, lr",
    [(Optimizer(momentum=0.9, weight_decay=5e-3), 0.05), (Optimizer("adam", weight_decay=1e-3), 0.01)],
)
def test_thirty_steps_on_a_dense_net_equal_torch_optim(optimizer, lr):
    graph = small_cnn()
    engine = engine_for(graph, None, optimizer)
    net = Net(engine.model)
    if optimizer.kind == "sgd":
        theirs = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9, weight_decay=5e-3)
    else:
        theirs = torch.optim.Adam(net.parameters(), lr=lr, weight_decay=1e-3)
    for step in range(30):
        x, y = data(graph, 16, seed=step)
        net.zero_grad()
        torch.nn.functional.cross_entropy(net(torch.tensor(x).float()), torch.tensor(y)).backward()
        theirs.step()
        train(engine, x, y, steps=1, lr=lr)
    model = engine.model
    assert relative(model["conv2.weight"].dense(), net.conv2.weight.detach().numpy()) < 1e-3
    assert relative(model["norm3.shift"].values, net.norm3.bias.detach().numpy()) < 1e-3
    assert relative(model["norm2.running_var"].values, net.norm2.running_var.numpy()) < 1e-3
    net.eval()
    x, _ = data(graph, 16, seed=99)
    assert relative(engine.predictor(8)(x)["logits"], net(torch.tensor(x).float()).detach().numpy()) < 1e-3


def test_in_float64_it_equals_the_numpy_reference_to_rounding():
    graph = residual()
    model = sparse_model(graph)
    engine = engine_for(graph, model, dtype="float64")
    x, y = data(graph, 6)
    logits = engine.forward({"input": x})["logits"]
    assert logits.dtype == np.float64 and engine.gradients.flat.dtype == np.float64
    seed = seed_gradient(logits, y)
    engine.backward({"logits": seed})
    tensors, grads, _ = reference_pass(graph, model, x, seed)
    assert np.abs(logits - tensors["logits"]).max() < 1e-12
    for name, p in model.parameters.items():
        if p.spec.trained:
            exact = grads[name].ravel() if p.pattern is None else grads[name].ravel()[p.pattern]
            assert np.abs(engine.gradients[name] - exact).max(initial=0) < 1e-12


def test_a_latent_can_be_fed_and_only_what_follows_runs_and_counts():
    graph = small_cnn()
    engine, latent = engine_for(graph), "relu2"
    x, y = data(graph, 6)
    outs = engine.forward({"input": x}, fetch=("logits", latent))
    engine.backward({"logits": seed_gradient(outs["logits"], y)})
    whole = {n: engine.gradients[n].copy() for n in ("conv1.weight", "conv3.weight")}
    engine.discard()
    meters = (engine.meters.forward_flops, engine.meters.backward_flops)
    again = engine.forward({latent: outs[latent]})["logits"]
    assert again.tobytes() == outs["logits"].tobytes()
    engine.backward({"logits": seed_gradient(again, y)})
    assert relative(engine.gradients["conv3.weight"], whole["conv3.weight"]) < 1e-6
    assert not engine.gradients["conv1.weight"].any()
    conv3, head = 6 * 8 * 9 * 4, 4 * 8
    assert engine.meters.forward_flops - meters[0] == 2 * 6 * (conv3 + head)
    # conv3 needs no input gradient: what it reads was fed
    assert engine.meters.backward_flops - meters[1] == 2 * 6 * (conv3 + 2 * head)


def test_a_visit_counts_the_whole_weight_gradient_and_comes_in_row_blocks(monkeypatch):
    import edgecl.engine.torch as module

    monkeypatch.setattr(module, "VISIT_WEIGHTS", 100)
    graph = small_cnn()
    model = sparse_model(graph)
    engine = engine_for(graph, model)
    x, y = data(graph, 4)
    pass_through(engine, x, y)
    usual = engine.meters.backward_flops
    blocks = []
    engine.visit_dense_gradients(["conv2.weight"], lambda name, rows, block: blocks.append(rows))
    pass_through(engine, x, y)
    p = model["conv2.weight"]
    assert engine.meters.backward_flops - 2 * usual == 2 * 4 * 16 * (p.spec.size - p.living)
    assert blocks == [range(0, 2), range(2, 4), range(4, 6)]  # 36 weights a row


def test_a_frozen_statistic_is_not_committed():
    graph = small_cnn()
    engine = engine_for(graph)
    engine.freeze(["norm1.running_mean", "norm1.running_var"])
    before = engine.snapshot()
    train(engine, *data(graph, 8))
    assert (engine.model["norm1.running_mean"].values == before["norm1.running_mean"]).all()
    assert (engine.model["norm2.running_mean"].values != before["norm2.running_mean"]).any()


def test_a_training_forward_with_a_snapshot_leaves_no_tape_and_no_statistics():
    graph = small_cnn()
    engine = engine_for(graph)
    x, _ = data(graph, 8)
    teacher = engine.snapshot()
    before = engine.state()
    engine.forward({"input": x}, params=teacher)
    with pytest.raises(BadInput, match="no training forward"):
        engine.backward({"logits": np.zeros((8, 4), np.float32)})
    engine.step(0.1)
    after = engine.state()
    assert all(before[k].tobytes() == after[k].tobytes() for k in before)


def test_everything_frozen_trains_nothing_and_costs_nothing_for_weights():
    graph = small_mlp()
    engine = engine_for(graph)
    engine.freeze(n for n, p in engine.model.parameters.items() if p.spec.trained)
    before = engine.state()
    x, y = data(graph, 4)
    train(engine, x, y)
    after = engine.state()
    assert all(before[k].tobytes() == after[k].tobytes() for k in before)
    inputs = sum(engine.model[c.name].living for c in weight_costs(graph) if c.input_gradient)
    assert engine.meters.backward_flops == 3 * 2 * 4 * inputs


def test_seeds_are_refused_at_tensors_that_were_not_fetched():
    graph = small_cnn()
    engine = engine_for(graph)
    engine.forward({"input": data(graph, 2)[0]})
    with pytest.raises(BadInput, match="'pooled' was not fetched"):
        engine.backward({"pooled": np.zeros((2, 8), np.float32)})


def test_an_unknown_optimizer_is_refused_at_once():
    graph = small_mlp()
    with pytest.raises(BadInput, match="lion"):
        engine_for(graph, optimizer=Optimizer("lion"))


def test_the_engine_is_chosen_by_name():
    from edgecl.engine.select import make_engine

    graph = small_mlp()
    model, plan = Model(graph, np.random.default_rng(0)), Plan(graph, 4, 4, Optimizer())
    assert isinstance(make_engine(model, plan, "torch"), TorchEngine)
    with pytest.raises(BadInput) as error:
        make_engine(model, plan, "jax")
    assert error.value.cause == unknown_name("engine", "jax", []).cause
