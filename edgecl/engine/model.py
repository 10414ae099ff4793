"""Model: parameters by name, in canonical order. It outlives every plan and engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import BadInput
from ..graph import Graph, ParameterSpec

INIT_PIECE = 65536  # initial values drawn at a time
PIECE = 16384  # weights whose places are looked up at a time


@dataclass
class Parameter:
    """One tensor. Its arrays hold the living weights only, in (out, in, kh, kw) order.

    values : float32 [living]
    pattern : int32 [living], sorted flat indices into ``spec.shape``, or None when every weight lives
    moments : optimizer state by name (``momentum``; ``adam_m``, ``adam_v``), float32 [living]
    gradient_subset : int32, sorted positions within the living weights that get gradients, or None for all
    frozen : no gradient at all
    step_count : Adam's step count, int
    per_weight : arrays a method keeps beside the weights, by name, float32 [living]; they follow a change of pattern
        as moments do
    """

    spec: ParameterSpec
    values: np.ndarray
    pattern: np.ndarray | None = None
    moments: dict[str, np.ndarray] = field(default_factory=dict)
    gradient_subset: np.ndarray | None = None
    frozen: bool = False
    step_count: int = 0
    per_weight: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def living(self) -> int:
        return int(self.values.size)

    @property
    def trained_count(self) -> int:
        """Weights that receive a gradient: the subset's size, 0 when frozen."""
        if self.frozen or not self.spec.trained:
            return 0
        return self.living if self.gradient_subset is None else int(self.gradient_subset.size)

    @property
    def density(self) -> float:
        return self.living / self.spec.size

    def dense(self, array: np.ndarray | None = None) -> np.ndarray:
        """``array`` (default: the values) scattered to the full shape, zeros where nothing lives."""
        array = self.values if array is None else array
        if self.pattern is None:
            return array.reshape(self.spec.shape)
        full = np.zeros(self.spec.size, array.dtype)
        full[self.pattern] = array
        return full.reshape(self.spec.shape)

    def set_pattern(self, pattern: np.ndarray | None) -> None:
        """Survivors keep value, optimizer state and arrays per weight, newcomers start at zero in all of them."""
        new = None if pattern is None else check_pattern(pattern, self.spec)
        if self.pattern is None and new is not None:  # a dense tensor: no index arrays of its size
            self.values = self.values[new]
            self.moments = {k: m[new] for k, m in self.moments.items()}
            self.per_weight = {k: a[new] for k, a in self.per_weight.items()}
            self.pattern, self.gradient_subset = new, None
            return
        old = np.arange(self.spec.size, dtype=np.int32) if self.pattern is None else self.pattern
        target = np.arange(self.spec.size, dtype=np.int32) if new is None else new
        source = _places(old, target)
        self.values = _carried(self.values, source)
        for arrays in (self.moments, self.per_weight):
            for name in arrays:
                arrays[name] = _carried(arrays[name], source)
        self.pattern = new
        self.gradient_subset = None

    def set_gradient_subset(self, subset: np.ndarray | None) -> None:
        """int32 sorted distinct positions within the living weights, or None for all; raises `BadInput`."""
        self.gradient_subset = None if subset is None else check_subset(subset, self.living, self.spec.name)

    def prepare_moments(self, names: Sequence[str]) -> None:
        """Keep the optimizer state called ``names``, zeros where it is new; drop any other."""
        self.moments = {m: self.moments.get(m, np.zeros_like(self.values)) for m in names}

    def drop_moments(self) -> None:
        """Forget the optimizer state: the parameter is not trained for now, and begins anew when it is again."""
        self.moments, self.step_count = {}, 0


def _places(old: np.ndarray, target: np.ndarray) -> np.ndarray:
    """int32 [target]: where each of ``target`` stands in the sorted ``old``, -1 for newcomers. Made a piece at a time:
    numpy's indices take 8 bytes each.
    """
    source = np.full(target.size, -1, np.int32)
    for i in range(0, target.size if old.size else 0, PIECE):
        wanted = target[i : i + PIECE]
        place = np.searchsorted(old, wanted)
        place[place == old.size] = 0
        source[i : i + PIECE] = np.where(old[place] == wanted, place, -1)
    return source


def _carried(array: np.ndarray, source: np.ndarray) -> np.ndarray:
    """``array`` at the places of ``source``, 0 for newcomers."""
    fresh = np.zeros(source.size, array.dtype)
    for i in range(0, source.size, PIECE):
        place = source[i : i + PIECE]
        stays = place >= 0
        fresh[i : i + PIECE][stays] = array[place[stays]]
    return fresh


def check_pattern(pattern: np.ndarray, spec: ParameterSpec) -> np.ndarray:
    """The pattern as sorted unique int32 within the tensor; raises `BadInput` otherwise."""
    pattern = np.ascontiguousarray(pattern, np.int32)
    if pattern.ndim != 1 or (
        pattern.size and (pattern[0] < 0 or pattern[-1] >= spec.size or np.any(pattern[1:] <= pattern[:-1]))
    ):
        raise BadInput(
            f"The pattern for '{spec.name}' is not a sorted list of distinct indices below {spec.size}.",
            "Pass sorted unique flat indices into the tensor's shape.",
        )
    return pattern


def check_subset(subset: np.ndarray, living: int, name: str) -> np.ndarray:
    """The gradient subset as sorted distinct int32 below ``living``; raises `BadInput` otherwise."""
    subset = np.ascontiguousarray(subset, np.int32)
    if subset.ndim != 1 or (subset.size and (subset[0] < 0 or subset[-1] >= living or np.any(np.diff(subset) <= 0))):
        raise BadInput(
            f"The gradient mask of '{name}' is not a sorted list of distinct positions below {living}.",
            "Pass sorted positions within the living weights.",
        )
    return subset


class Model:
    """Parameters of a graph by name; see `Parameter`.

    >>> model = Model(graph, np.random.default_rng(0))
    """

    def __init__(
        self,
        graph: Graph,
        rng: np.random.Generator,
        start: Callable[[Parameter], None] | None = None,
    ) -> None:
        """``start`` is called with every tensor as soon as it has its initial values, so that a sparse model never
        exists as a whole in dense form.
        """
        self.graph = graph
        self.parameters: dict[str, Parameter] = {}
        for name, spec in graph.parameters.items():
            self.parameters[name] = Parameter(spec, initial_values(spec, rng))
            if start is not None:
                start(self.parameters[name])

    @classmethod
    def from_state(cls, graph: Graph, state: Mapping[str, np.ndarray]) -> Model:
        """The model a `state` was taken of, with no initial values drawn in between."""
        model = cls.__new__(cls)
        model.graph, model.parameters = graph, {}
        left = set(state)
        for name, spec in graph.parameters.items():
            model.parameters[name] = read_parameter(spec, state, left)
        _refuse_leftovers(left, graph)
        return model

    @classmethod
    def standing(cls, graph: Graph, weights: Mapping[str, np.ndarray]) -> Model:
        """A model of dense ``weights`` that nothing trains; float32 arrays that may be written are held, not copied."""
        model = cls.__new__(cls)
        model.graph, model.parameters = graph, {}
        for name, spec in graph.parameters.items():
            values = np.require(weights[name], np.float32, ("C", "W")).reshape(-1)  # the kernels take no others
            model.parameters[name] = Parameter(spec, values, frozen=True)
        return model

    def __getitem__(self, name: str) -> Parameter:
        return self.parameters[name]

    def reset(self, names: Iterable[str], rng: np.random.Generator) -> None:
        """Fresh initial values on the present pattern; optimizer state and arrays per weight to zero."""
        for name in names:
            p = self.parameters[name]
            full = initial_values(p.spec, rng)
            p.values[:] = full if p.pattern is None else full[p.pattern]
            for m in (*p.moments.values(), *p.per_weight.values()):
                m[:] = 0
            p.step_count = 0

    def densities(self) -> Mapping[str, float]:
        return {n: p.density for n, p in self.parameters.items()}

    def adopt(self, graph: Graph, rng: np.random.Generator) -> None:
        """Continue with ``graph``, whose tensors are the present ones or have more rows (a wider head).

        Old rows keep value, pattern and optimizer state; new rows all live, start at fresh initial values
        with zero state and lie outside a gradient subset that was set. Raises `BadInput` otherwise.
        """
        if set(graph.parameters) != set(self.parameters):
            odd = sorted(set(graph.parameters) ^ set(self.parameters))[0]
            raise BadInput(f"Only one of the two graphs has a parameter '{odd}'.", "Make a new model for this graph.")
        for name, spec in graph.parameters.items():
            old = self.parameters[name].spec.shape
            if len(old) != len(spec.shape) or old[1:] != spec.shape[1:] or old[0] > spec.shape[0]:
                raise BadInput(
                    f"'{name}' has shape {old} and cannot become {spec.shape}.",
                    "Only rows can be added to a tensor.",
                )
        for name, spec in graph.parameters.items():
            p = self.parameters[name]
            added = spec.size - p.spec.size
            if added:
                if p.pattern is not None:
                    p.pattern = np.concatenate([p.pattern, np.arange(p.spec.size, spec.size, dtype=np.int32)])
                p.values = np.concatenate([p.values, initial_values(spec, rng)[-added:]])
                p.moments, p.per_weight = (
                    {k: np.concatenate([a, np.zeros(added, a.dtype)]) for k, a in arrays.items()}
                    for arrays in (p.moments, p.per_weight)
                )
            p.spec = spec
        self.graph = graph

    def state(self) -> dict[str, np.ndarray]:
        """Copies in canonical form, by key:

        NAME/values float32 [living]; NAME/pattern int32 [living] where sparse; NAME/moment/KIND float32
        [living]; NAME/per_weight/KIND alike; NAME/gradient_subset int32 where set; NAME/frozen uint8 [1];
        NAME/step_count int64 [1].
        """
        state = {}
        for name, p in self.parameters.items():
            state[f"{name}/values"] = p.values.copy()
            if p.pattern is not None:
                state[f"{name}/pattern"] = p.pattern.copy()
            for moment, array in p.moments.items():
                state[f"{name}/moment/{moment}"] = array.copy()
            for kind, array in p.per_weight.items():
                state[f"{name}/per_weight/{kind}"] = array.copy()
            if p.gradient_subset is not None:
                state[f"{name}/gradient_subset"] = p.gradient_subset.copy()
            state[f"{name}/frozen"] = np.array([p.frozen], np.uint8)
            state[f"{name}/step_count"] = np.array([p.step_count], np.int64)
        return state

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace everything by what `state` returned. Raises `BadInput`, changing nothing, on a misfit."""
        left = set(state)
        loaded = {name: read_parameter(p.spec, state, left) for name, p in self.parameters.items()}
        _refuse_leftovers(left, self.graph)
        self.parameters.update(loaded)


def _refuse_leftovers(left: set[str], graph: Graph) -> None:
    if left:
        raise BadInput(
            f"The saved state holds '{sorted(left)[0]}', which '{graph.name}' does not have.",
            "Load it into the network it was saved from.",
        )


def read_parameter(spec: ParameterSpec, state: Mapping[str, np.ndarray], left: set[str]) -> Parameter:
    """One parameter out of a state; the keys it used are taken out of ``left``."""

    def take(key: str, dtype: type, size: int | None) -> np.ndarray | None:
        full = f"{spec.name}/{key}"
        if full not in state:
            return None
        left.discard(full)
        array = np.asarray(state[full])
        if array.dtype != dtype or array.ndim != 1 or (size is not None and array.size != size):
            expected = f"{np.dtype(dtype).name} [{'any' if size is None else size}]"
            raise BadInput(
                f"The saved '{full}' is {array.dtype} {list(array.shape)}, not {expected}.",
                "Load it into the network it was saved from.",
            )
        return array.copy()

    pattern = take("pattern", np.int32, None)
    if pattern is not None:
        pattern = check_pattern(pattern, spec)
    living = spec.size if pattern is None else int(pattern.size)
    values = take("values", np.float32, living)
    if values is None:
        raise BadInput(f"The saved state has no '{spec.name}/values'.", "Load it into the network it was saved from.")

    def take_all(kind: str) -> dict[str, np.ndarray]:
        prefix, found = f"{spec.name}/{kind}/", {}
        for key in sorted(k for k in left if k.startswith(prefix)):
            array = take(key[len(spec.name) + 1 :], np.float32, living)
            assert array is not None
            found[key[len(prefix) :]] = array
        return found

    moments, per_weight = take_all("moment"), take_all("per_weight")
    subset = take("gradient_subset", np.int32, None)
    frozen, count = take("frozen", np.uint8, 1), take("step_count", np.int64, 1)
    if (frozen is not None and frozen[0] > 1) or (count is not None and count[0] < 0):
        raise BadInput(f"The saved 'frozen' or 'step_count' of '{spec.name}' is out of range.", "The state is damaged.")
    return Parameter(
        spec,
        values,
        pattern,
        moments,
        None if subset is None else check_subset(subset, living, spec.name),
        frozen is not None and bool(frozen[0]),
        0 if count is None else int(count[0]),
        per_weight,
    )


def initial_values(spec: ParameterSpec, rng: np.random.Generator) -> np.ndarray:
    """torch's default, drawn from ``rng``: U(-1/sqrt(fan_in), 1/sqrt(fan_in)) for conv and linear."""
    if spec.init == "ones":
        return np.ones(spec.size, np.float32)
    if spec.init == "zeros":
        return np.zeros(spec.size, np.float32)
    bound = 1.0 / np.sqrt(spec.fan_in)
    values = np.empty(spec.size, np.float32)
    for i in range(0, spec.size, INIT_PIECE):  # the generator draws float64: never a whole tensor of it
        piece = values[i : i + INIT_PIECE]
        piece[:] = rng.uniform(-bound, bound, piece.size)
    return values
