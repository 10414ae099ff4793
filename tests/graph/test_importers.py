"""Networks from torch and ONNX predict and learn as they do where they come from; what cannot is refused by place."""

import copy
import io

import numpy as np
import pytest

torch = pytest.importorskip("torch")
torch.set_num_threads(1)
pytest.importorskip("edgecl._kernels")

from foreign_nets import NETS, build  # noqa: E402

from edgecl.compiler import Optimizer, compile_plan  # noqa: E402
from edgecl.engine import Model  # noqa: E402
from edgecl.engine.native import NativeEngine  # noqa: E402
from edgecl.errors import BadInput  # noqa: E402
from edgecl.graph import Graph  # noqa: E402
from edgecl.graph.importers import from_onnx, from_torch  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


def engine_of(imported, batch, density=None):
    model = Model(imported.graph, np.random.default_rng(0))
    for name, value in imported.weights.items():
        model[name].values[:] = value.ravel()
    if density is not None:
        rng = np.random.default_rng(1)
        for name in imported.graph.prunable():
            size = model[name].spec.size
            model[name].set_pattern(np.sort(rng.choice(size, max(1, round(size * density)), False)).astype(np.int32))
    return NativeEngine(model, compile_plan(imported.graph, batch=batch, optimizer=Optimizer()))


def samples(shape, batch=5, seed=3):
    return torch.tensor(np.random.default_rng(seed).normal(size=(batch, *shape)).astype(np.float32))


def exported(module, shape, **options):
    """The module as ONNX, batch open."""
    file = io.BytesIO()
    torch.onnx.export(
        module.eval(), (samples(shape, 2),), file, input_names=["x"], dynamic_axes={"x": {0: "batch"}}, dynamo=False,
        opset_version=17, **options,
    )  # fmt: skip
    return file.getvalue()


@pytest.mark.parametrize("name", NETS)
def test_a_torch_module_predicts_what_it_predicted(name):
    module, shape = build(name)
    x = samples(shape)
    found = engine_of(from_torch(module, x[:1]), len(x)).forward({"input": x.numpy()}, training=False)["logits"]
    with torch.no_grad():
        expected = module.eval()(x).numpy()
    assert np.abs(found - expected).max() <= 1e-4


@pytest.mark.parametrize("name", NETS)
def test_an_onnx_file_predicts_and_takes_a_step(name):
    pytest.importorskip("onnx")
    module, shape = build(name)
    try:
        content = exported(module, shape)
    except Exception as error:  # the exporter of the torch at hand
        pytest.skip(f"torch.onnx.export: {type(error).__name__}")
    x = samples(shape)
    engine = engine_of(from_onnx(content), len(x))
    found = engine.forward({"input": x.numpy()}, training=False)["logits"]
    with torch.no_grad():
        assert np.abs(found - module(x).numpy()).max() <= 1e-4
    engine.forward({"input": x.numpy()})
    engine.backward({"logits": np.full(found.shape, 0.1, np.float32)})
    before = engine.snapshot()
    engine.step(0.05)
    after = engine.snapshot()
    assert all(np.isfinite(v).all() for v in after.values())
    assert any(not np.array_equal(before[k], after[k]) for k in before)


def gradients(module, x, seed, dtype):
    """Of every parameter by name, with the module in training mode and its dropout off."""
    twin = copy.deepcopy(module).to(dtype).train()
    for m in twin.modules():
        if isinstance(m, torch.nn.Dropout):
            m.p = 0.0
    twin(x.to(dtype)).backward(seed.to(dtype))
    return {n: p.grad.double().numpy().ravel() for n, p in twin.named_parameters()}


def partners(imported, engine, module):
    """Which of our parameters is which of torch's: by their values, which are all different."""
    theirs, pairs = dict(module.named_parameters()), {}
    for ours, p in engine.model.parameters.items():
        if p.spec.trained:
            value = imported.weights[ours].ravel()
            same = (n for n, t in theirs.items() if np.array_equal(t.detach().numpy().ravel(), value))
            pairs[ours] = next(same)
    left = set(theirs) - set(pairs.values())  # a bias before a batch normalisation moved into its running mean
    assert all(n.endswith("bias") for n in left)
    return pairs, left


@pytest.mark.parametrize("density", [None, 0.1])
@pytest.mark.parametrize("name", NETS)
def test_every_parameter_gets_the_gradient_that_torch_gives_it(name, density):
    """No further from float64 than three times torch's own float32. A unit whose sign float32 decides moves all before
    it, in any implementation, and torch's few elements may lie near by chance: each parameter must hold in one of a few
    draws of samples and output gradients.
    """
    module, shape = build(name)
    for m in module.modules():
        if isinstance(m, torch.nn.Dropout):
            m.p = 0.0
    imported = from_torch(module, samples(shape, 1))
    engine = engine_of(imported, 5, density)
    pairs, idle = partners(imported, engine, module)
    theirs = dict(module.named_parameters())
    with torch.no_grad():  # dead weights are zero in torch
        for ours, there in pairs.items():
            theirs[there].copy_(torch.tensor(engine.model[ours].dense()).reshape(theirs[there].shape))
    missed = set(pairs)
    for draw in range(12):
        x = samples(shape, 5, draw)
        engine.discard()
        found = engine.forward({"input": x.numpy()})["logits"]
        seed = torch.tensor(np.random.default_rng(draw).normal(size=found.shape).astype(np.float32))
        engine.backward({"logits": seed.numpy()})
        exact, single = (gradients(module, x, seed, d) for d in (torch.float64, torch.float32))
        assert all(np.abs(exact[n]).max() <= 1e-6 for n in idle)
        for ours, there in pairs.items():
            pattern = engine.model[ours].pattern
            truth = exact[there] if pattern is None else exact[there][pattern]
            float32 = single[there] if pattern is None else single[there][pattern]
            off, torch_off = np.abs(engine.gradients[ours] - truth).max(), np.abs(float32 - truth).max()
            if off <= 3 * torch_off:
                missed.discard(ours)
        if not missed:
            break
    assert not missed


def test_a_graph_from_elsewhere_survives_its_own_file():
    module, shape = build("kwt_tiny")
    imported = from_torch(module, samples(shape)[:1])
    again = Graph.from_json(imported.graph.to_json())
    imported.graph = again
    x = samples(shape)
    with torch.no_grad():
        expected = module.eval()(x).numpy()
    assert (
        np.abs(engine_of(imported, len(x)).forward({"input": x.numpy()}, training=False)["logits"] - expected).max()
        <= 1e-4
    )


def test_a_number_of_classes_puts_a_fresh_head_on_the_features():
    module, shape = build("ds_cnn")
    imported = from_torch(module, samples(shape)[:1], classes=3)
    assert imported.graph.classes == 3
    assert engine_of(imported, 2).forward({"input": samples(shape, 2).numpy()})["logits"].shape == (2, 3)


def test_everything_that_cannot_be_imported_is_named_at_once():
    class Odd(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = torch.nn.Linear(6, 6), torch.nn.Linear(6, 3)

        def forward(self, x):
            y = torch.fft.rfft(self.first(x)).real
            y = torch.cumsum(self.first(x), 0) + y.sum()
            return self.second(torch.sort(y, 1).values)

    with pytest.raises(BadInput) as error:
        from_torch(Odd(), torch.zeros(1, 6))
    for op in ("fft_rfft", "cumsum", "sort"):
        assert f"'{op}'" in error.value.cause


def test_a_mean_over_the_batch_is_refused_as_mixing_it():
    class Mixing(torch.nn.Module):
        def forward(self, x):
            return x - x.mean(0, keepdim=True)

    with pytest.raises(BadInput, match="mixes the samples of a batch"):
        from_torch(Mixing(), torch.zeros(2, 6))
