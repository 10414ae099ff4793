"""from_torch and from_onnx: a network from elsewhere as a `Network`, tried before it is given back.

Either is compared with what it came from, predicts at two sizes of a batch and takes one training step. Importing is
work for a workstation; what a device opens is the file that `Network.save` writes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .acceptance import Accepted, accept
from .errors import BadInput
from .graph.importers import Imported, onnx, onnx_quantised, torch_export
from .graph.importers.finish import fresh_head
from .network import Network

Array = np.ndarray
Label = str | int
MOST_CLASSES = 100_000


@dataclass(frozen=True)
class Wishes:
    """What an import makes of a foreign network.

    classes : a fresh linear head for so many classes, or for these labels, in place of the last linear layer; None
        keeps the head and the labels that a file names
    freeze_below : name of a node: it and all it depends on learn nothing, statistics included
    input_dtype, mean, std : what the network is fed with and how that is normalised, in raw units
    name : of the graph
    """

    classes: int | Sequence[Label] | None = None
    freeze_below: str | None = None
    input_dtype: str | None = None
    mean: Any = None
    std: Any = None
    name: str | None = None

    @property
    def labels(self) -> list[Label] | None:
        return None if self.classes is None or isinstance(self.classes, int) else list(self.classes)

    @property
    def count(self) -> int | None:
        return self.classes if self.classes is None or isinstance(self.classes, int) else len(self.classes)

    @property
    def feeding(self) -> dict[str, Any]:
        """What the importers themselves ask for."""
        return {"input_dtype": self.input_dtype, "mean": self.mean, "std": self.std, "name": self.name}

    def check(self) -> None:
        """Raise `BadInput` for a number of classes or labels that no head has."""
        count, labels = self.count, self.labels
        if count is not None and (type(count) is not int or not 1 <= count <= MOST_CLASSES):
            raise BadInput(f"A head for {count} classes is not possible.", f"Use 1 to {MOST_CLASSES} classes.")
        if labels is not None and (
            len(set(labels)) != len(labels) or not all(isinstance(v, (str, int)) and v != "" for v in labels)
        ):
            raise BadInput("The labels are not all different texts or whole numbers.", "Give one label for each class.")


def from_torch(
    module: Any, example: Any, *, classes: int | Sequence[Label] | None = None, freeze_below: str | None = None,
    input_dtype: str = "float32", mean: Any = None, std: Any = None, name: str | None = None,
) -> Network:  # fmt: skip
    """The `Network` of a ``torch.nn.Module``, with its weights; needs the extra ``torch``.

    example : one batch of inputs, a float tensor [B, ...]; only its shape is used
    classes, freeze_below, input_dtype, mean, std, name : see `Wishes`; the module is fed what normalisation leaves
    Raises `BadInput` that names every node which cannot be imported, with its place in the module.
    """
    wishes = Wishes(classes, freeze_below, input_dtype, mean, std, name)
    wishes.check()
    made = torch_export.from_torch(module, example, **wishes.feeding)
    network = _network(made, wishes)
    return _tried(made, network, _torch_reference(module))[0]


def from_onnx(
    source: str | os.PathLike[str] | bytes, *, classes: int | Sequence[Label] | None = None,
    freeze_below: str | None = None, input_shape: Sequence[int] | None = None, input_dtype: str | None = None,
    mean: Any = None, std: Any = None, name: str | None = None,
) -> Network:  # fmt: skip
    """The `Network` of an ONNX file (opset 6 to 28), with its weights; needs the extra ``onnx``.

    source : path or content;  input_shape : of a sample, where the file leaves it open
    classes, freeze_below, input_dtype, mean, std, name : see `Wishes`; by default the file's dtype
    Raises `BadInput` that names every node which cannot be imported, with its place in the file.
    """
    return imported_onnx(source, Wishes(classes, freeze_below, input_dtype, mean, std, name), input_shape)[0]


def imported_onnx(
    source: str | os.PathLike[str] | bytes, wishes: Wishes, input_shape: Sequence[int] | None = None
) -> tuple[Network, Accepted]:
    """`from_onnx`, with what the trial showed."""
    wishes.check()
    made = onnx.from_onnx(source, input_shape=input_shape, **wishes.feeding)
    content = source if isinstance(source, bytes) else Path(source).read_bytes()
    made.notes["source"]["sha256"] = hashlib.sha256(content).hexdigest()
    network = _network(made, wishes)
    rounds = onnx_quantised.WARNING in made.notes["warnings"]  # what was left out makes the difference
    return _tried(made, network, None if rounds else _onnx_reference(source, made))


# -- a foreign network as ours


def _network(made: Imported, wishes: Wishes) -> Network:
    """Graph, weights and what is known of them, with the head that was asked for."""
    graph, weights, notes = made.graph, made.weights, dict(made.notes)
    labels = wishes.labels
    if wishes.count is not None:
        graph, weights = fresh_head(graph, weights, wishes.count)
        notes["outputs"] = [{"name": "logits", "tensor": graph.logits, "batch": 0}]
    else:
        labels = _labels_of(notes.get("metadata", {}), graph.shapes[graph.logits])
        notes["head"] = "kept"
    if labels:
        notes["labels"] = labels
    return Network(graph, weights, notes).frozen_below(wishes.freeze_below)


def _labels_of(metadata: Mapping[str, str], shape: tuple[int, ...]) -> list[Label] | None:
    """The labels that a file of ours names, where they suit its outputs."""
    try:
        found = json.loads(metadata.get("edgecl.labels", "null"))
    except ValueError:
        return None
    good = isinstance(found, list) and len(found) == shape[0] and all(type(v) in (str, int) for v in found)
    return found if good and len(set(found)) == len(found) else None


def _tried(made: Imported, network: Network, reference: Any) -> tuple[Network, Accepted]:
    """The network after its trial, which is of the foreign network's own head where that was replaced."""
    whole = network if network.about.get("head") == "kept" else Network(made.graph, made.weights)
    tried = accept(network, whole, reference)
    return replace(network, about={**network.about, "accepted": vars(tried)}), tried


def _torch_reference(module: Any) -> tuple[str, Callable[[Array], Array]]:
    import torch

    def predict(x: Array) -> Array:
        modes = [(m, m.training) for m in module.modules()]
        module.eval()
        try:
            with torch.no_grad():
                found = module(torch.from_numpy(x))
        finally:
            for m, training in modes:
                m.training = training
        first = found[0] if isinstance(found, (tuple, list)) else found
        return first.float().numpy()

    return f"torch {torch.__version__}", predict


def _onnx_reference(source: Any, made: Imported) -> tuple[str, Callable[[Array], Array]] | None:
    """The first output that depends on the input, by onnxruntime where that is installed and runs the file."""
    try:
        import onnxruntime
    except ImportError:
        return None
    try:
        given = source if isinstance(source, bytes) else str(source)
        session = onnxruntime.InferenceSession(given, providers=["CPUExecutionProvider"])
        fed = session.get_inputs()[0]
        fixed = fed.shape[0] if fed.shape and isinstance(fed.shape[0], int) else None
        kind = np.uint8 if fed.type == "tensor(uint8)" else np.float16 if "float16" in fed.type else np.float32
    except Exception:  # a file that the runtime refuses may still be one we read
        return None
    output = made.notes["outputs"][0]

    def predict(x: Array) -> Array:
        size = fixed or len(x)
        parts = [
            session.run([output["name"]], {fed.name: x[i : i + size].astype(kind)})[0] for i in range(0, len(x), size)
        ]
        return np.concatenate([np.moveaxis(p, output["batch"] or 0, 0) for p in parts])

    return f"onnxruntime {onnxruntime.__version__}", predict
