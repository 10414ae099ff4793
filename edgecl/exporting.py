"""to_onnx: what a learner or a run has learned as an ONNX file, compared with its own predictions before it is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from . import __version__, acceptance
from .errors import BadInput, EdgeclError
from .graph import Graph, GraphBuilder
from .graph.exporters import onnx
from .learning.core import Core
from .methods import Method
from .methods.linear_head import LinearHead
from .network import SUFFIX, Network
from .quantising import Drop, quantised

Array = np.ndarray
Label = str | int
VERIFIED_ON = 64  # samples
ROWS = 16  # of random samples, where there are none of a memory


@dataclass(frozen=True)
class Leaving:
    """What is written to a file.

    weights : dense, by parameter name;  classes : head units that have learned, in the order of the file's outputs
    labels : of these classes
    predict : logits of all head units, of samples [n, ...]
    x, y : samples to verify with, and their head units where these are known
    about : provenance, JSON values by key of the file's metadata
    """

    graph: Graph
    weights: Mapping[str, Array]
    classes: Sequence[int]
    labels: Sequence[Label]
    predict: Callable[[Array], Array]
    x: Array
    y: Array | None = None
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Exported:
    """An ONNX file that was written.

    runtime : what verified it, or ``none``;  max_abs : largest difference of a logit over n samples
    drop : of an int8 file, accuracies before and after on memory samples that did not calibrate
    """

    path: Path
    bytes: int
    runtime: str
    max_abs: float
    n: int
    drop: Drop | None = None


def to_onnx(
    source: Any, path: str | Path, *, int8: bool = False, keep_bn: bool = False, features: bool = False,
    allow_drop: bool = False,
) -> Exported:  # fmt: skip
    """Write ``source`` to ``path``: normalisation inside, raw input, the classes that were learned; needs the extra
    ``onnx``.

    source : a `Learner`, a `Network`, or a ``.edgecl`` file
    int8 : quantised by QDQ nodes, calibrated with samples of the episodic memory; refused where it costs more than 2
        points of accuracy on others of them, unless ``allow_drop``
    keep_bn : batch normalisations as nodes of their own, for a file that shall be trained again
    features : also an output ``features``, the classifier's input
    Raises `BadInput` for what cannot be written, `EdgeclError` where the file predicts something else; nothing stays.
    """
    if isinstance(source, (str, Path)) and str(source).endswith(SUFFIX):
        source = Network.load(source)
    if isinstance(source, Network):
        found = of_network(source)
    elif isinstance(getattr(source, "core", None), Core):
        found = of_core(source.core, source.labels)
    else:
        raise BadInput(f"A {type(source).__name__} cannot be exported.", "Give a Learner, a Network or a .edgecl file.")
    return export(found, path, int8=int8, keep_bn=keep_bn, features=features, allow_drop=allow_drop)


def export(leaving: Leaving, path: str | Path, *, int8: bool, allow_drop: bool, **how: Any) -> Exported:
    """See `to_onnx`; ``how``: ``keep_bn`` and ``features``."""
    path = Path(path)
    if path.suffix != ".onnx":
        raise BadInput(f"'{path}' does not end in .onnx.", f"Call it {path.name}.onnx.")
    metadata = {"edgecl.version": __version__, **leaving.about, "edgecl.labels": list(leaving.labels)}
    metadata["edgecl.input"] = _input(leaving.graph)

    def write(target: Path) -> onnx.Verified:
        return onnx.to_onnx(
            leaving.graph, leaving.weights, target, classes=leaving.classes, metadata=metadata,
            predict=leaving.predict, samples=leaving.x[:VERIFIED_ON], **how,
        )  # fmt: skip

    drop = None
    if int8:
        if leaving.y is None:
            raise BadInput("There are no samples to calibrate int8 with.", "Export a learner or run with a memory.")
        units = {unit: i for i, unit in enumerate(leaving.classes)}
        rows = np.array([int(k) in units for k in leaving.y], bool)
        y = np.array([units[int(k)] for k in leaving.y[rows]], np.int64)
        verified, drop = quantised(write, path, leaving.x[rows], y, allow_drop)
    else:
        verified = write(path)
    return Exported(path, path.stat().st_size, verified.runtime, verified.max_abs, verified.n, drop)


def of_network(network: Network) -> Leaving:
    """All outputs of a network, verified on random samples."""
    graph = network.graph
    engine = acceptance.engine_of(network, ROWS)
    labels = network.labels if len(network.labels) == graph.classes else list(range(graph.classes))
    weights = {n: engine.model[n].dense() for n in graph.parameters}
    about = {"edgecl.backbone": network.about["source"]} if isinstance(network.about.get("source"), dict) else {}

    def predict(x: Array) -> Array:
        parts = [x[i : i + ROWS] for i in range(0, len(x), ROWS)]
        return np.concatenate([engine.forward({graph.input: p}, training=False)["logits"] for p in parts])

    return Leaving(
        graph, weights, range(graph.classes), labels, predict, acceptance.samples(network, ROWS), None, about
    )


def of_core(core: Core, labels: Sequence[Label], reason: str | None = None) -> Leaving:
    """What predicts in a learner or run: the model or the method's side, for the classes with samples so far.

    Raises `BadInput` where nothing was learned, or predictions come from more than the network's logits.
    """
    method, model = core.parts.method, core.parts.engine.model
    values: Any = model
    side = method.predict_side
    if side is not None and not core.parts.engine.side(side).empty:
        values = core.parts.engine.side(side)
    seen = np.flatnonzero(core.trainer.seen)
    seen = seen[seen < getattr(values, "classes", core.classes)]
    if not len(seen):
        raise BadInput("Nothing has been learned yet.", "Train it before it is exported.")
    weights = {n: _full(values[n].dense(), p.shape) for n, p in model.graph.parameters.items()}
    graph, predict = model.graph, lambda x: core.predict(x)["logits"]
    own = _own_head(graph, weights)
    head = method.linear_head(own)
    if head is None and type(method).scores is not Method.scores:
        raise BadInput(
            f"Method '{method.name}' predicts by more than a linear layer gives, which a file cannot hold.",
            "Export a learner whose method predicts by a linear head.",
        )
    if head is not None and head is not own:
        head = head.of(graph.classes)
        seen = seen[head.known[seen]]
        graph, weights = _with_head(graph, weights, head)
        predict = _scores_of(core, head)
    x, y = _memory_samples(core)
    config = core.plan.config
    about = {
        "edgecl.training": {
            "steps": core.trainer.steps, "method": config.method, "seed": config.seed,
            "samples": core.counters()["stored"] or core.counters()["remembered"], "finished": reason,
        },
        "edgecl.density": {n: round(model[n].density, 6) for n in model.graph.parameters if model[n].density < 1},
    }  # fmt: skip
    if isinstance(core.network.about.get("source"), dict):
        about["edgecl.backbone"] = core.network.about["source"]
    if core.parts.front is not None:
        about["edgecl.front"] = core.parts.front.front.about()
    named = [labels[int(k)] for k in seen]
    return Leaving(graph, weights, seen.tolist(), named, predict, x, y, about)


def _own_head(graph: Graph, weights: Mapping[str, Array]) -> LinearHead | None:
    """The network's own classifier; None where that is no linear layer of the features."""
    node = next(n for n in graph.nodes if n.output == graph.logits)
    if node.op != "linear" or node.inputs[0] != graph.features:
        return None
    weight, *bias = (weights[p].astype(np.float64) for p in node.parameters)
    known = np.ones(len(weight), bool)
    return LinearHead(weight, bias[0] if bias else np.zeros(len(weight)), known)


def _with_head(graph: Graph, weights: Mapping[str, Array], head: LinearHead) -> tuple[Graph, dict[str, Array]]:
    """The network with ``head`` on its features, in place of its own."""
    features = graph.features
    g = GraphBuilder.on(graph, features)
    weights = {n: weights[n] for n in g.parameters}

    def name(wanted: str) -> str:
        return wanted if wanted not in g.shapes else name(f"{wanted}_")

    def linear(x: str, called: str, weight: Array, bias: Array | None) -> str:
        y = g.add("linear", [x], name=name(called), out=len(weight), bias=bias is not None)
        given = (weight, bias) if bias is not None else (weight,)
        weights.update({p: v.astype(np.float32) for p, v in zip(g.nodes[-1].parameters, given)})
        return y

    x = features
    if len(g.shapes[x]) != 1:
        x = g.add("flatten", [x], name=name("head_flatten"))
    if head.unit:
        x = g.add("unit_norm", [x], name=name("head_unit"))
    if head.hidden is not None:
        x = g.add("relu", [linear(x, "head_hidden", head.hidden, None)], name=name("head_relu"))
    return g.build(linear(x, "head", head.weight, head.bias)), weights


def _scores_of(core: Core, head: LinearHead) -> Callable[[Array], Array]:
    """What the head makes of the features, where predictions come from those; else what the method makes of logits.

    Raises `EdgeclError` where the head differs from the method by more than a number that a sample's classes share.
    """
    method, known = core.parts.method, head.known

    def scores(x: Array) -> Array:
        outs = core.predict(x)
        expected = method.scores(outs)
        if "features" not in outs:
            return expected
        found = head.scores(outs["features"])
        off = (found - expected)[:, known]
        off -= off.mean(axis=1, keepdims=True)
        largest = np.abs(found[:, known]).max(initial=0)
        if not np.abs(off).max(initial=0) <= max(onnx.ABSOLUTE, onnx.RELATIVE * largest):
            raise EdgeclError(f"The linear head of method '{method.name}' does not score as it does.", "Report this.")
        return found

    return scores


def _full(values: Array, shape: tuple[int, ...]) -> Array:
    """Rows of a side that knows fewer classes, with zeros for those it lacks."""
    if values.shape == tuple(shape):
        return values
    full = np.zeros(shape, np.float32)
    full[: len(values)] = values
    return full


def _memory_samples(core: Core) -> tuple[Array, Array | None]:
    """Samples of the episodic memory, classes in turn, and their head units; random ones where there is no memory."""
    memory = core.parts.memory
    if memory is None or not memory.filled:
        return acceptance.samples(core.network, ROWS), None
    slots = np.flatnonzero(memory.classes >= 0)
    units = memory.classes[slots]
    rank = np.zeros(len(slots), np.int64)
    for unit in np.unique(units):
        mine = units == unit
        rank[mine] = np.arange(mine.sum())
    slots = slots[np.lexsort((units, rank))]
    got = memory.gather(slots)
    return got["samples"], got["classes"].astype(np.int64)


def _input(graph: Graph) -> dict[str, Any]:
    attributes = graph.nodes[0].attributes
    return {
        "dtype": graph.input_dtype, "layout": "N" + "CHW"[: len(graph.input_shape)],
        "mean": list(attributes["mean"]), "std": list(attributes["std"]),
    }  # fmt: skip
