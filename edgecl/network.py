"""Network: graph, weights and digest in one value; by a builder's name, from a graph of one's own, from a file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from safetensors import SafetensorError, safe_open

from .checkpoint import write_tensors
from .checksums import checksum
from .engine.model import initial_values
from .errors import BadInput, EdgeclError
from .graph import Graph
from .graph.builders import build
from .graph.check import check_graph, graph_from_json
from .graph.freeze import freeze_below
from .graph.widen import head_of, head_parameters, widen_graph
from .network_file import Tensors, refuse_long_header

Array = np.ndarray
Keep = Callable[[Graph, Mapping[str, Any]], Collection[str]]
FORMAT = 1
SUFFIX = ".edgecl"
FED = {"float16": "float32"}  # dtypes of samples that a graph takes as another one


class Samples(Protocol):
    """What a network is asked to take: shape without the batch, dtype, mean and std per channel or None."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> str: ...
    @property
    def mean(self) -> tuple[float, ...] | None: ...
    @property
    def std(self) -> tuple[float, ...] | None: ...


@dataclass(frozen=True, eq=False)
class Network:
    """A graph and the weights to start from.

    weights : float32 in their full shape, by parameter name; a parameter that is not there starts at random
    about : plain values beside it, such as ``labels``, ``source``, ``cut``; not part of the digest

    Raises `BadInput` for a graph that is not sound, and for weights that do not fit it or are not finite.
    """

    graph: Graph
    weights: Mapping[str, Array] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "graph", check_graph(self.graph))
        weights = {name: _checked(name, values, self.graph) for name, values in self.weights.items()}
        object.__setattr__(self, "weights", {n: weights[n] for n in self.graph.parameters if n in weights})

    @staticmethod
    def by_name(
        name: str, input_shape: tuple[int, ...], classes: int, *, dtype: str = "uint8", **options: Any
    ) -> Network:
        """What the builder ``name`` makes; ``options`` as for `edgecl.graph.builders.build` (mean, std, norm, ...)."""
        return Network(build(name, input_shape, classes, input_dtype=dtype, **options))

    @cached_property
    def digest(self) -> str:
        """sha256 over the graph in canonical JSON and the weights: 64 hex digits, the same on every machine."""
        return hashlib.sha256(checksum(_canonical(self.graph), self.weights).encode()).hexdigest()

    @property
    def label(self) -> str:
        """Name and the first 12 digits of the digest: what a configuration calls a network of one's own."""
        return f"{self.graph.name}@{self.digest[:12]}"

    @property
    def labels(self) -> list[str | int]:
        """Labels of the head's first units, from ``about``; none where these are no labels."""
        found = self.about.get("labels")
        if not isinstance(found, list) or len(found) > self.graph.classes:
            return []
        good = all(type(v) in (str, int) for v in found) and len(set(found)) == len(found)
        return list(found) if good else []

    def widened(self, classes: int, rng: np.random.Generator) -> Network:
        """The same network for ``classes`` classes: rows that its head has stay, new ones are drawn from ``rng``."""
        graph = widen_graph(self.graph, classes)
        weights = dict(self.weights)
        for name in weights:
            spec, old = graph.parameters[name], weights[name]
            if spec.shape != old.shape:
                values = initial_values(spec, rng).reshape(spec.shape)
                values[: len(old)] = old
                weights[name] = values
        return Network(graph, weights, self.about)

    def frozen_below(self, node: str | None) -> Network:
        """The same network with ``node`` and all nodes before ``node`` frozen; None: unchanged."""
        return self if node is None else replace(self, graph=freeze_below(self.graph, node))

    def without_head(self) -> Network:
        """The same network whose head starts at random."""
        head = head_parameters(self.graph)
        return replace(self, weights={n: w for n, w in self.weights.items() if n not in head})

    # -- in saved states and files

    def to_state(self, weights: bool = True) -> dict[str, Any]:
        """Plain values and arrays for a saved state; without weights where the state holds the model's own."""
        return {
            "graph": self.graph.to_json(),
            "weights": dict(self.weights) if weights else {},
            "about": dict(self.about),
        }

    @staticmethod
    def from_state(state: Mapping[str, Any]) -> Network:
        """The inverse of `to_state`. Raises `BadInput`."""
        if not isinstance(state, Mapping) or not all(isinstance(state.get(k), Mapping) for k in ("weights", "about")):
            raise BadInput("The saved network cannot be read.", "Use a state as edgecl wrote it.")
        return Network(graph_from_json(state.get("graph")), state["weights"], state["about"])

    def save(self, path: str | Path) -> Path:
        """Write ``NAME.edgecl``: one safetensors file, the graph in its header, a checksum over both."""
        path = Path(path)
        if path.suffix != SUFFIX:
            raise BadInput(f"'{path}' does not end in {SUFFIX}.", f"Call it {path.name}{SUFFIX}.")
        graph = self.graph
        given = {"shape": list(graph.input_shape), "dtype": graph.input_dtype}
        model = {"format": FORMAT, **self.about, "graph": graph.to_json(), "input": given}
        text = json.dumps(model, sort_keys=True)
        try:
            write_tensors(path, self.weights, {"edgecl.model": text, "sha256": checksum(text, self.weights)})
        except (OSError, SafetensorError) as error:
            raise EdgeclError(
                f"'{path}' cannot be written: {getattr(error, 'strerror', None) or error}.", "Choose another folder."
            ) from error
        return path

    @staticmethod
    def load(path: str | Path, keep: Keep | None = None) -> Network:
        """The network in a file that `save` wrote. Everything in it is checked before it is used. Raises `BadInput`.

        keep : names of the weights to hold, given graph and ``about``; of the others one at a time is read for the
            checksum. Where none is wanted nothing is read but the graph
        """
        path = Path(path)
        if not path.is_file():
            raise BadInput(f"There is no network '{path}'.", "Check the path.")
        try:
            refuse_long_header(path)
            with safe_open(path, "numpy") as file, open(path, "rb") as raw:
                metadata = file.metadata() or {}
                text = metadata.get("edgecl.model", "")
                model = json.loads(text)
                if not isinstance(model, dict) or type(model.get("format")) is not int:
                    raise ValueError("it holds no network")
                if model["format"] > FORMAT:
                    raise BadInput(
                        f"The network '{path}' has format {model['format']}; this edgecl reads up to {FORMAT}.",
                        "Use a newer edgecl.",
                    )
                graph = graph_from_json(model.get("graph"))
                about = {k: v for k, v in model.items() if k not in ("format", "graph", "input")}
                wanted = None if keep is None else keep(graph, about)
                weights = Tensors(file, raw, graph, wanted)
                if (wanted is None or wanted) and metadata.get("sha256") != checksum(text, weights):
                    raise ValueError("its checksum does not match")
            return Network(graph, weights.kept, about)
        except BadInput as error:
            raise BadInput(f"'{path}': {error.cause}", error.remedy) from error
        except (SafetensorError, ValueError, RecursionError, OSError) as error:
            raise BadInput(f"'{path}' is not a good network: {error}.", "Import or save it again.") from error


def is_name(value: Any) -> bool:
    """Whether ``value`` is a builder's name, not a file or a network of one's own."""
    return isinstance(value, (str, Path)) and not str(value).endswith(SUFFIX)


def resolve_network(
    value: str | Path | Graph | Network,
    spec: Samples,
    classes: int,
    norm: str | None = None,
    rng: np.random.Generator | None = None,
) -> Network:
    """The network that ``value`` means, for samples of ``spec`` and at least ``classes`` classes.

    value : a builder's name, a ``.edgecl`` file, a graph, a network
    rng : for the new rows of a head that is too narrow; without one the whole head starts at random
    Raises `BadInput` when it takes other samples.
    """
    fed = FED.get(spec.dtype, spec.dtype)
    if is_name(value):
        if "@" in str(value):
            raise BadInput(f"The network '{value}' is no builder's: it was given as a value.", "Give it with network=.")
        return Network.by_name(str(value), spec.shape, classes, dtype=fed, mean=spec.mean, std=spec.std, norm=norm)
    if isinstance(value, (str, Path)):
        network = Network.load(value)
    elif isinstance(value, Graph):
        network = Network(value)
    elif isinstance(value, Network):
        network = value
    else:
        raise BadInput(f"The network is a {type(value).__name__}.", "Give a name, a .edgecl file, a Graph, a Network.")
    graph = network.graph
    if norm is not None:
        raise BadInput(f"norm='{norm}' was given for '{graph.name}', which is built already.", "Drop norm.")
    if (graph.input_shape, graph.input_dtype) != (tuple(spec.shape), fed):
        raise BadInput(
            f"The network '{graph.name}' takes {graph.input_dtype} samples of shape {graph.input_shape}, not "
            f"{fed} of {tuple(spec.shape)}.",
            "Give samples of that shape and dtype.",
        )
    if len(graph.shapes[graph.logits]) != 1:
        raise BadInput(
            f"The output '{graph.logits}' of '{graph.name}' is {graph.shapes[graph.logits]}, not a value a class.",
            "Import it with a number of classes, or cut it at a vector.",
        )
    head_of(graph)  # one whose head cannot grow is refused now, not at the first new label
    if graph.classes >= classes:
        return network
    if rng is not None:
        return network.widened(classes, rng)
    return replace(network.without_head(), graph=widen_graph(graph, classes))


def _canonical(graph: Graph) -> str:
    return json.dumps(graph.to_json(), sort_keys=True, separators=(",", ":"))


def _checked(name: Any, values: Any, graph: Graph) -> Array:
    """Weights of one parameter as float32. Raises `BadInput` where they do not fit."""
    spec = graph.parameters.get(name)
    if spec is None:
        raise BadInput(f"'{graph.name}' has no parameter '{name}'.", f"It has: {', '.join(graph.parameters)}.")
    array = np.asarray(values)
    if array.dtype.kind != "f" or array.shape != tuple(spec.shape):
        raise BadInput(
            f"The weights of '{name}' are {array.dtype} {list(array.shape)}, not float {list(spec.shape)}.",
            f"They must fit '{graph.name}'.",
        )
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(array, np.float32).reshape(spec.shape)
    if not np.isfinite(array).all():
        raise BadInput(f"The weights of '{name}' hold NaN or infinity.", "Use other weights.")
    if name.rpartition(".")[2] == "running_var" and array.min(initial=0.0) < 0:
        raise BadInput(f"The variances '{name}' are below 0.", "Use other weights.")
    return array
