"""Each engine equals the float64 reference on random graphs, dense and masked: forward, backward, step."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_graphs import graph_cases, tensor_cases
from small_nets import seed_gradient

from edgecl.compiler import Optimizer
from edgecl.engine.optimizer import update
from edgecl.graph.ops.dropout import draw_mask
from edgecl.graph.ops.norm import running_update
from edgecl.testing.reference_pass import reference_pass

COMPARE = settings(
    deadline=None, max_examples=120, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
OPTIMIZERS = [
    Optimizer(),
    Optimizer(momentum=0.9, weight_decay=0.05),
    Optimizer("adam", weight_decay=0.01),
]


def close(ours, exact, tolerance, scale=0.0, single=None):
    """Maximum absolute error over the largest value (or ``scale``, where sums cancel).

    ``single`` is the same computation in float32: where that loses digits, as a normalisation over nearly
    equal values does, an engine may lose as many.
    """
    assert ours.shape == exact.shape
    limit = tolerance * max(np.abs(exact).max(initial=0), scale, 1e-3)
    if single is not None:
        limit += 8 * np.abs(single - exact).max(initial=0)
    assert np.abs(ours - exact).max(initial=0) <= limit


def keep_masks(case, graph, rng):
    return {
        n.name: draw_mask(rng, (case.samples, *graph.shapes[n.output]), n.attributes["p"])
        for n in graph.nodes
        if n.op == "dropout"
    }


def well_conditioned(graph, tensors, stats):
    """No value so near a kink or a tie, no variance so small, that float32 rounding decides."""
    for node in graph.nodes:
        if not node.inputs:
            continue
        x = tensors[node.inputs[0]]
        if node.op in KINKS and any((np.abs(x - k) < 1e-4).any() for k in KINKS[node.op]):
            return False
        if node.op in ("reduce_max", "reduce_min", "argmax", "maximum", "minimum", "where", "greater") and _close(x):
            return False
        if node.op in ("layer_norm", "rms_norm", "unit_norm") and _short(x, node):
            return False
        if not np.isfinite(tensors[node.output]).all() or np.abs(tensors[node.output]).max(initial=0) > 1e4:
            return False
        if node.op == "relu" and (np.abs(x[x != 0]) < 1e-5).any():
            return False
        if node.op == "relu6" and ((np.abs(x[x != 0]) < 1e-5).any() or (np.abs(x - 6) < 1e-5).any()):
            return False
        if node.op == "max_pool" and not _clear_winners(x, node.attributes):
            return False
        if node.op == "batch_norm" and _narrow(stats[node.name]["mean"], stats[node.name]["var"]):
            return False
        if node.op == "group_norm":
            rows = x.reshape(len(x), node.attributes["groups"], -1)
            if _narrow(rows.mean(2), rows.var(2)):
                return False
    return True


KINKS = {
    "hard_swish": (-3, 3), "hard_sigmoid": (-3, 3), "elu": (0,), "selu": (0,), "celu": (0,), "leaky_relu": (0,),
    "abs": (0,),
    "thresholded_relu": (1,), "clip": (), "prelu": (0,),
}  # fmt: skip


def _close(x):
    """Two different values so near one another that rounding decides which is larger."""
    values = np.sort(np.abs(x).ravel())
    return bool(((np.diff(values) > 0) & (np.diff(values) < 1e-4)).any() or (values < 1e-4).any())


def _short(x, node):
    """Lines that hardly vary, or are hardly longer than nothing."""
    axes = tuple(a % (x.ndim - 1) + 1 for a in node.attributes["axes"])
    size = x.var(axes) if node.op == "layer_norm" else np.square(x).mean(axes)
    return bool((size < 1e-2).any())


def _narrow(mean, var):
    """Values so close together, for their size, that normalising them loses most digits."""
    return bool((var < 1e-3 + 0.01 * mean**2).any())


def _clear_winners(x, attributes):
    (kh, kw), (sh, sw), (ph, pw) = (attributes[k] for k in ("kernel", "stride", "padding"))
    x = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)), constant_values=-1e9)
    windows = np.lib.stride_tricks.sliding_window_view(x, (kh, kw), (2, 3))[:, :, ::sh, ::sw]
    flat = np.sort(windows.reshape(*windows.shape[:4], -1), axis=-1)
    # exact ties (relu's zeros) are decided alike by every engine; near ties are not
    return flat.shape[-1] == 1 or not ((np.diff(flat[..., -2:]) > 0) & (np.diff(flat[..., -2:]) < 1e-5)).any()


@COMPARE
@given(graph_cases(), st.sampled_from(OPTIMIZERS))
def check(engine_factory, case, optimizer):
    agree(engine_factory, case, optimizer)


@COMPARE
@given(tensor_cases(), st.sampled_from(OPTIMIZERS))
def check_tensors(engine_factory, case, optimizer):
    agree(engine_factory, case, optimizer)


def agree(engine_factory, case, optimizer):
    graph, model = case.graph, case.model()
    fetch = tuple(n.output for n in graph.nodes if n.op != "parameter")
    engine = engine_factory(graph, model, optimizer, batch=case.samples, rng=np.random.default_rng(1), fetch=fetch)
    rng = np.random.default_rng(1)
    x, y = case.data()
    before = {n: p.values.copy() for n, p in model.parameters.items()}
    outs = engine.forward({graph.input: x}, fetch=fetch)
    seed = seed_gradient(outs[graph.logits], y)
    keeps = keep_masks(case, graph, rng)
    tensors, grads, stats = reference_pass(graph, model, x, seed, keeps)
    single_tensors, single_grads, _ = reference_pass(graph, model, x, seed, keeps, np.float32)
    if not well_conditioned(graph, tensors, stats):
        return
    for node in graph.nodes:
        if node.op == "parameter":
            continue
        # sums that cancel are judged by what went into them
        scale = 0.0 if node.op == "normalise" else 0.2 * max(np.abs(tensors[i]).max() for i in node.inputs)
        close(outs[node.output], tensors[node.output], 1e-5, scale, single_tensors[node.output])
    engine.backward({graph.logits: seed})
    # What comes before a norm has gradient 0 by cancellation, up to its epsilon: the yardstick is what was summed, the
    # seed as the steepest of the norms passes it on.
    size = np.abs(seed).sum() * 0.1 * max([1.0, *(np.sqrt(1 / s["var"].min()) for s in stats.values())])
    exact = {}
    for name, p in model.parameters.items():
        if not p.spec.trained:
            continue
        mask = np.zeros(p.living, bool)
        if not p.frozen:
            mask[slice(None) if p.gradient_subset is None else p.gradient_subset] = True
        at = slice(None) if p.pattern is None else p.pattern
        exact[name], single = (np.where(mask, g[name].ravel()[at], 0) for g in (grads, single_grads))
        close(engine.gradients[name], exact[name], 5e-5, size, single)
    gradients = {n: engine.gradients[n].copy() for n in exact}
    twins = case.model()
    engine.step(0.1)
    for name, p in model.parameters.items():
        twin = twins[name]
        if p.spec.trained:
            twin.prepare_moments(optimizer.moments())
            update(twin, gradients[name], optimizer, 0.1)
            close(p.values, twin.values, 2e-6)
            for moment, array in twin.moments.items():
                close(p.moments[moment], array, 2e-6)
            assert p.step_count == twin.step_count
        elif p.spec.role == "constant":
            assert p.values.tobytes() == before[name].tobytes()
        else:
            node, _, which = name.rpartition(".")
            s = stats[node]
            batch, count = (s["mean"], None) if which == "running_mean" else (s["var"], s["count"])
            close(p.values, running_update(before[name], batch, 0.1, count), 2e-5, 0.1)
    expected = engine.forward({graph.input: x}, training=False)["logits"]
    close(engine.predictor(min(5, case.samples))(x)["logits"], expected, 1e-5)


def test_forward_backward_and_step_equal_the_float64_reference(engine_factory):
    check(engine_factory)


def test_tensors_of_any_rank_equal_the_float64_reference(engine_factory):
    check_tensors(engine_factory)
