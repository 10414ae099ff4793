"""How a global density is shared among the sparse tensors: uniform (SparCL) or ERK (RigL)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..errors import BadInput, unknown_name
from ..graph import ParameterSpec

Allocation = Callable[[Sequence[ParameterSpec], float], dict[str, float]]


def uniform(specs: Sequence[ParameterSpec], density: float) -> dict[str, float]:
    """The same density in every tensor."""
    return {spec.name: density for spec in specs}


def erk(specs: Sequence[ParameterSpec], density: float) -> dict[str, float]:
    """Erdos-Renyi-kernel (Evci et al. 2020): density of a tensor proportional to sum(shape) / prod(shape).

    The factor is chosen so that the living weights add up to ``density`` of all; a tensor that would exceed
    density 1 is made dense and the factor recomputed for the others.
    """
    dense: set[str] = set()
    while True:
        open_specs = [s for s in specs if s.name not in dense]
        budget = density * sum(s.size for s in specs) - sum(s.size for s in specs if s.name in dense)
        shares = sum(sum(s.shape) for s in open_specs)
        if not open_specs:
            break
        factor = budget / shares
        over = {s.name for s in open_specs if factor * sum(s.shape) >= s.size}
        if not over:
            break
        dense |= over
    return {s.name: 1.0 if s.name in dense else factor * sum(s.shape) / s.size for s in specs}


_ALLOCATIONS: Mapping[str, Allocation] = {"uniform": uniform, "erk": erk}


def allocate(name: str, specs: Sequence[ParameterSpec], density: float) -> dict[str, float]:
    """Density of each tensor for a global ``density`` in (0, 1]. Raises `BadInput`."""
    if name not in _ALLOCATIONS:
        raise unknown_name("allocation", name, _ALLOCATIONS)
    if not 0.0 < density <= 1.0:
        raise BadInput(f"The density is {density}.", "Use a fraction above 0 and at most 1.")
    return _ALLOCATIONS[name](specs, density)
