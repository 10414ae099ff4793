"""Tensor: what a sparsity policy may see of a parameter. Nothing in it can be written to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from ..engine.model import Model, Parameter
from .masks import exact_count

Array = np.ndarray


@dataclass(frozen=True)
class Target:
    """Name, shape and density of a sparse tensor, known before any weight exists.

    Parameters
    ----------
    name : of the parameter
    shape : (out, in, kh, kw), or (out, in) of a linear layer
    density : share of its weights that is to live, (0, 1)
    """

    name: str
    shape: tuple[int, ...]
    density: float

    @property
    def size(self) -> int:
        """Weights of the dense tensor."""
        return int(np.prod(self.shape))

    @property
    def count(self) -> int:
        """Living weights at the target density."""
        return exact_count(self.density, self.size)


@dataclass(frozen=True)
class Tensor(Target):
    """Present values and pattern of a sparse tensor of the model.

    Arrays are read-only views, valid until the pattern changes.

    Parameters
    ----------
    values : float32 [living] weights in canonical (out, in, kh, kw) order
    pattern : int32 [living] sorted flat positions of them; None where every weight lives
    moments : optimizer state by name (``momentum``; ``adam_m``, ``adam_v``), float32 [living] each
    frozen : gets no gradient, and its pattern stays
    """

    values: Array = field(repr=False)
    pattern: Array | None = field(repr=False)
    moments: Mapping[str, Array] = field(repr=False)
    frozen: bool

    @property
    def living(self) -> int:
        """Weights that live now."""
        return int(self.values.size)

    def positions(self) -> Array:
        """int32 [living]: `pattern`, written out (4 bytes a weight) where every weight lives."""
        return np.arange(self.size, dtype=np.int32) if self.pattern is None else self.pattern

    @staticmethod
    def of(parameter: Parameter, density: float) -> Tensor:
        """A view of a model's parameter, with the density that the plan gives the parameter."""
        return Tensor(
            parameter.spec.name,
            tuple(parameter.spec.shape),
            density,
            read_only(parameter.values),
            None if parameter.pattern is None else read_only(parameter.pattern),
            {name: read_only(array) for name, array in parameter.moments.items()},
            parameter.frozen,
        )


class Tensors(Mapping[str, Tensor]):
    """The sparse tensors of a model by name, in graph order; a view is made when it is asked for."""

    def __init__(self, model: Model, densities: Mapping[str, float]) -> None:
        self._model, self._densities = model, densities

    def __getitem__(self, name: str) -> Tensor:
        return Tensor.of(self._model[name], self._densities[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._densities)

    def __len__(self) -> int:
        return len(self._densities)


def read_only(array: Array) -> Array:
    """A view that raises ValueError when written to."""
    view = array.view()
    view.flags.writeable = False
    return view
