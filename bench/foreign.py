"""Networks of other people's libraries, by both ways in: predictions beside torch's, one training step, the gradient of
every parameter no further from float64 than three times torch's own float32 (that of the module itself; of a file,
whose normalisations are folded, that of its graph run by torch), and after an epoch out as ONNX and in again.

Needs torch, onnx, onnxscript, onnxruntime, and for all of them torchvision, timm and pytorchcv (their code only:
torchvision's wheel installs without its dependencies). Weights are random: nothing is fetched. The 17 of
`tests/graph/foreign_nets.py` stand beside them. Each runs in a process of its own.

    python bench/foreign.py [--nets NAME,..] [--json FILE]
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import subprocess
import sys
import tempfile
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import write

OTHERS = {  # name -> (library, what to build, size of a side)
    "efficientnet_b0": ("torchvision", "efficientnet_b0", 64),
    "mobilenet_v2": ("torchvision", "mobilenet_v2", 64),
    "mobilenet_v3_small": ("torchvision", "mobilenet_v3_small", 64),
    "resnet18": ("torchvision", "resnet18", 64),
    "shufflenet_v2_x0_5": ("torchvision", "shufflenet_v2_x0_5", 64),
    "squeezenet1_1": ("torchvision", "squeezenet1_1", 64),
    "ghostnet_100": ("timm", "ghostnet_100", 64),
    "mobilenetv4_conv_small": ("timm", "mobilenetv4_conv_small", 64),
    "mobilevit_xxs": ("timm", "mobilevit_xxs", 64),
    "repvgg_a0": ("timm", "repvgg_a0", 64),
    "tf_efficientnet_lite0": ("timm", "tf_efficientnet_lite0", 64),
    "tiny_vit_5m_224": ("timm", "tiny_vit_5m_224", 224),
    "vit_tiny_patch16_224": ("timm", "vit_tiny_patch16_224", 224),
    "mobilenet_wd4": ("pytorchcv", "mobilenet_wd4", 224),
}
ROWS, DRAWS, EPOCH = 4, 24, 32
MOST = 3  # times torch's own distance from float64


def own_nets() -> Any:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "graph"))
    import foreign_nets

    return foreign_nets


def build(name: str) -> tuple[Any, tuple[int, ...]]:
    """(module with random weights and statistics, shape of a sample)."""
    import torch

    if name not in OTHERS:
        return own_nets().build(name)
    library, what, side = OTHERS[name]
    torch.manual_seed(0)
    sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("torchvision._meta_registrations"))
    if library == "torchvision":
        import torchvision.models as zoo

        module = getattr(zoo, what)(weights=None)
    elif library == "timm":
        import timm

        module = timm.create_model(what, pretrained=False)
    else:
        from pytorchcv.model_provider import get_model

        module = get_model(what, pretrained=False)
    with torch.no_grad():
        for p in module.parameters():
            p.add_((0.1 if p.ndim < 2 else 0.003) * torch.randn_like(p))
        norms = [m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        momenta = [m.momentum for m in norms]
        for m in norms:  # statistics as data leave them, so that outputs are of order one
            m.momentum = None
        for _ in range(2 if norms else 0):
            module.train()(torch.randn(8, 3, side, side))
        for m, momentum in zip(norms, momenta):
            m.momentum = momentum
            # What twenty steps of training leave of the variance they begin with. Without it a channel that is dead in
            # all of these samples comes out of the next one multiplied by 316.
            m.running_var.mul_(0.9).add_(0.1)
    return module, (3, side, side)


def try_net(name: str) -> dict[str, Any]:
    """What one network showed."""
    import torch

    import edgecl
    from edgecl.errors import EdgeclError

    torch.set_num_threads(1)
    module, shape = build(name)
    for m in module.modules():  # no two frameworks draw alike
        for draws in ("p", "drop_prob"):
            if "Drop" in type(m).__name__ or "Stochastic" in type(m).__name__:
                setattr(m, draws, 0.0)
    row: dict[str, Any] = {"name": name, "input": list(shape)}
    for way in ("torch", "onnx"):
        try:
            if way == "torch":
                network = edgecl.from_torch(module, torch.zeros(1, *shape))
            else:
                network = edgecl.from_onnx(exported(torch, module, shape))
        except EdgeclError as error:
            row[way] = {"refused": error.cause[:500]}
            continue
        tried = network.about["accepted"]
        row[way] = {"max_abs": tried["max_abs"], "against": tried["runtime"], "nodes": len(network.graph.nodes)}
        row[way]["gradients"] = gradients(
            network, of_module(torch, module, network) if way == "torch" else of_graph(network)
        )
        if way == "torch":
            row["export"] = out_and_in(network)
    return row


def exported(torch: Any, module: Any, shape: tuple[int, ...]) -> bytes:
    """By torch's exporter, by its older one where that fails."""
    file, x = io.BytesIO(), torch.zeros(2, *shape)
    try:
        torch.onnx.export(module.eval(), (x,), dynamo=True, dynamic_shapes=({0: "batch"},), verbose=False).save(file)
    except Exception:
        file = io.BytesIO()
        torch.onnx.export(module.eval(), (x,), file, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "batch"}})
    return file.getvalue()


Pairs = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]  # float64's and torch float32's gradients by our names
Theirs = Callable[[Any, np.ndarray, np.ndarray], Pairs]  # of a model with our weights, samples, gradient of the output


def of_module(torch: Any, module: Any, network: Any) -> Theirs:
    """Gradients of the module itself, of those parameters that hold the same values as ours."""
    theirs = {n: p.detach().numpy().ravel() for n, p in module.named_parameters()}
    pairs = {}
    for ours, values in network.weights.items():
        if network.graph.parameters[ours].trained:
            flat = values.ravel()
            pairs[ours] = next((n for n, v in theirs.items() if np.array_equal(v, flat)), None)
    twin = copy.deepcopy(module)

    def found(model: Any, x: np.ndarray, seed: np.ndarray) -> Pairs:
        named = dict(twin.named_parameters())
        with torch.no_grad():
            for ours, there in pairs.items():
                if there is not None:
                    named[there].copy_(torch.tensor(model[ours].dense()).reshape(named[there].shape))
        exact, single = (torch_gradients(torch, twin, x, seed, d) for d in (torch.float64, torch.float32))
        paired = {ours: there for ours, there in pairs.items() if there in exact}
        return {o: exact[t] for o, t in paired.items()}, {o: single[t] for o, t in paired.items()}

    return found


def of_graph(network: Any) -> Theirs:
    """Gradients of the imported graph run by torch: what a file is whose normalisations were folded."""
    from edgecl.compiler import Optimizer, compile_plan
    from edgecl.engine.model import Model
    from edgecl.engine.torch import TorchEngine

    plan = compile_plan(network.graph, batch=ROWS, optimizer=Optimizer())

    def found(model: Any, x: np.ndarray, seed: np.ndarray) -> Pairs:
        both = []
        for dtype in ("float64", "float32"):
            dense = Model(network.graph, np.random.default_rng(0))
            for name, p in model.parameters.items():
                dense[name].values[:] = p.dense().ravel()
            engine = TorchEngine(dense, plan, dtype=dtype)
            engine.forward({network.graph.input: x})
            engine.backward({"logits": seed})
            trained = [n for n, p in network.graph.parameters.items() if p.trained]
            both.append({n: np.asarray(engine.gradients[n], np.float64).ravel() for n in trained})
        return both[0], both[1]

    return found


def gradients(network: Any, theirs: Theirs) -> dict[str, Any]:
    """Over all parameters, dense and with a tenth of the prunable weights living: how far ours lie from float64 as a
    multiple of torch's float32, 3 being allowed. ``first_draw``: the median over the parameters and how many lie beyond
    3, in the first draw. A parameter of few elements may lie beyond by chance, where torch happens to lie near, and a
    unit whose sign float32 decides moves all before it, in any implementation: samples and output gradients are drawn
    anew, at most 24 times, until each parameter has held in one draw.
    """
    return {str(d): worst_of(network, theirs, d) for d in (1.0, 0.1)}


def worst_of(network: Any, theirs: Theirs, density: float) -> dict[str, Any]:
    from edgecl.compiler import Optimizer, compile_plan
    from edgecl.engine.model import Model
    from edgecl.engine.native import NativeEngine

    graph, rng = network.graph, np.random.default_rng(0)
    model = Model(graph, rng)
    for ours, p in model.parameters.items():
        p.values[:] = network.weights[ours].ravel()
        if p.spec.prunable and density < 1:
            p.set_pattern(np.sort(rng.choice(p.spec.size, max(1, int(p.spec.size * density)), replace=False)))
    engine = NativeEngine(model, compile_plan(graph, batch=ROWS, densities=model.densities(), optimizer=Optimizer()))
    best: dict[str, float] = {}
    first: list[float] = []
    draw = 0
    while draw == 0 or (draw < DRAWS and max(best.values()) > MOST):
        drawn = np.random.default_rng(draw)
        x = drawn.normal(size=(ROWS, *graph.input_shape)).astype(np.float32)
        engine.discard()
        found = engine.forward({graph.input: x})["logits"]
        seed = drawn.normal(size=found.shape).astype(np.float32)
        engine.backward({"logits": seed})
        exact, single = theirs(model, x, seed)
        for ours in exact:
            pattern = model[ours].pattern
            truth, plain = (g[ours] if pattern is None else g[ours][pattern] for g in (exact, single))
            best[ours] = min(best.get(ours, np.inf), distance(engine.gradients[ours], plain, truth))
        first = first or list(best.values())
        draw += 1
    name = max(best, key=lambda n: best[n])
    unpaired = sum(p.spec.trained for p in model.parameters.values()) - len(best)
    return {
        "parameters": len(best), "unpaired": unpaired, "largest": round(best[name], 3), "at": name,
        "beyond_three_times": sum(v > MOST for v in best.values()), "draws": draw,
        "first_draw": {"median": round(float(np.median(first)), 3), "beyond": sum(v > MOST for v in first)},
    }  # fmt: skip


def distance(ours: np.ndarray, single: np.ndarray, exact: np.ndarray) -> float:
    """Largest distance of our gradient from float64's, as a multiple of torch's float32's."""
    off, own = (float(np.abs(g - exact).max()) for g in (ours, single))
    return off / own if own else np.inf if off else 0.0


def torch_gradients(torch: Any, module: Any, x: np.ndarray, seed: np.ndarray, dtype: Any) -> dict[str, np.ndarray]:
    twin = copy.deepcopy(module).to(dtype).train()
    found = twin(torch.tensor(x).to(dtype))
    found = found[0] if isinstance(found, (tuple, list)) else found
    found.backward(torch.tensor(seed).reshape(found.shape).to(dtype))
    return {n: p.grad.double().numpy().ravel() for n, p in twin.named_parameters() if p.grad is not None}


def out_and_in(network: Any) -> dict[str, Any]:
    """An epoch over random samples with random targets, then out as ONNX, compared with onnxruntime, and in again."""
    import edgecl
    from edgecl.acceptance import engine_of, samples
    from edgecl.network import Network

    engine = engine_of(network, ROWS)
    x = samples(network, EPOCH)
    targets = np.random.default_rng(6).normal(size=(EPOCH, *network.graph.shapes[network.graph.logits]))
    for at in range(0, EPOCH, ROWS):
        logits = engine.forward({network.graph.input: x[at : at + ROWS]})["logits"]
        engine.backward({"logits": ((logits - targets[at : at + ROWS]) / logits.size).astype(np.float32)})
        engine.step(1e-3)
    trained = Network(network.graph, {n: engine.model[n].dense() for n in network.graph.parameters}, network.about)
    moved = sum(not np.array_equal(v, network.weights[n]) for n, v in trained.weights.items())
    with tempfile.TemporaryDirectory() as folder:
        done = edgecl.to_onnx(trained, Path(folder) / "o.onnx")
        again = edgecl.from_onnx(done.path)
    tried = again.about["accepted"]
    logits = engine.forward({network.graph.input: x[:ROWS]}, training=False)["logits"]
    return {
        "steps": EPOCH // ROWS, "moved": moved, "out": done.max_abs, "in": tried["max_abs"],
        "largest_output": round(float(np.abs(logits).max()), 3), "runtime": done.runtime,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", default="")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    a = parser.parse_args()
    warnings.filterwarnings("ignore")
    if a.one:
        print(json.dumps(try_net(a.one)))
        return
    names = a.nets.split(",") if a.nets else [*own_nets().NETS, *OTHERS]
    for name in names:
        done = subprocess.run([sys.executable, __file__, "--one", name], capture_output=True, text=True)
        lines = done.stdout.strip().splitlines()
        row = json.loads(lines[-1]) if done.returncode == 0 and lines else {
            "name": name, "failed": (done.stderr.strip().splitlines() or ["?"])[-1][:300]
        }  # fmt: skip
        print(json.dumps(row), flush=True)
        write("foreign", [row], a.json, ("torch", "onnxruntime"), key=("name",))


if __name__ == "__main__":
    main()
