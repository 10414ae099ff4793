"""make_sparse_training: from the choices a user makes to a `SparseTraining`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import BadInput, unknown_name
from ..graph import Graph, ParameterSpec
from ..options import options_of
from .allocation import allocate
from .base import SparsityPolicy
from .dgm import DGM
from .registry import POLICIES
from .static import Static
from .tensor import Target
from .training import SparseTraining


def make_sparse_training(
    graph: Graph,
    *,
    sparsity: float = 0.0,
    mask: str | SparsityPolicy = "tdm",
    gradient_keep: float = 1.0,
    form: str = "released",
    allocation: str = "uniform",
    names: Sequence[str] | None = None,
    masking: Mapping[str, Any] | None = None,
    **options: Any,
) -> SparseTraining:
    """Sparse training of ``names`` (default: the graph's prunable tensors).

    sparsity : share of zero weights over those tensors, [0, 1); 0 makes no mask
    mask : a policy's name or a policy; ``none`` goes with sparsity 0
    gradient_keep : share of living weights that get a gradient (DGM), (0, 1]; 1 is no gradient masking
    form : ``released`` or ``paper``, of TDM and DGM;  allocation : ``uniform`` or ``erk``
    masking : options of `DGM`;  options : of the policy called ``mask``
    Raises `BadInput` for a value out of range, an unknown option or a name that is no weight of the graph.
    """
    if form not in ("released", "paper"):
        raise unknown_name("form", form, ("released", "paper"))
    if not 0.0 <= sparsity < 1.0:
        raise BadInput(f"The sparsity is {sparsity}.", "Use a fraction from 0 up to, but not including, 1.")
    if not 0.0 < gradient_keep <= 1.0:
        raise BadInput(f"The gradient keep fraction is {gradient_keep}.", "Use a fraction above 0 and up to 1.")
    if mask == "none" and sparsity > 0:
        known = ", ".join(POLICIES.names())
        raise BadInput(f"Sparsity {sparsity} was asked for with no mask.", f"Use one of {known}, or sparsity 0.")
    policy = _policy(mask, form, options)
    names = _weights(graph, names)
    if not names and (sparsity > 0 or gradient_keep < 1):
        raise BadInput(f"Network '{graph.name}' has no prunable tensor.", "Name the tensors to make sparse.")
    specs = [graph.parameters[n] for n in names]
    densities = _densities(allocation, specs, sparsity)
    dgm = None
    if gradient_keep < 1.0:
        dgm = DGM(**{"form": form, **(masking or {}), "keep": gradient_keep})
    return SparseTraining(
        {s.name: Target(s.name, tuple(s.shape), densities[s.name]) for s in specs if densities.get(s.name, 1.0) < 1.0},
        {s.name: s.size for s in specs},
        policy if densities else Static(),
        dgm,
        names if dgm is not None else (),
        {
            "sparsity": sparsity,
            "mask": policy.name if densities else "none",
            "gradient_keep": gradient_keep,
            "form": form,
            "allocation": allocation,
            "tensors": list(names),
            "densities": dict(densities),
            **({} if dgm is None else {"refresh": dgm.refresh, "alpha": dgm.alpha, "beta": dgm.beta}),
            **(policy.options() if densities else {}),
        },
    )


def _policy(mask: str | SparsityPolicy, form: str, options: Mapping[str, Any]) -> SparsityPolicy:
    """The policy itself, or the one of that name with its options."""
    if isinstance(mask, SparsityPolicy):
        return mask
    kind = Static if mask == "none" else POLICIES.get(mask)
    return kind(**{**({"form": form} if "form" in options_of(kind) else {}), **options})


def _densities(allocation: str, specs: Sequence[ParameterSpec], sparsity: float) -> dict[str, float]:
    """Target density by tensor; empty without a mask."""
    if not specs or sparsity == 0:
        return {}
    densities = allocate(allocation, specs, 1.0 - sparsity)
    for spec in specs:
        if densities[spec.name] * spec.size < 0.5:
            raise BadInput(
                f"At sparsity {sparsity} no weight of '{spec.name}' ({spec.size} weights) would live.",
                "Lower the sparsity or leave the tensor dense.",
            )
    return densities


def _weights(graph: Graph, names: Sequence[str] | None) -> tuple[str, ...]:
    """The named weight tensors in graph order, so that random draws do not depend on how they were listed."""
    if names is None:
        return graph.prunable()
    weights = [p.name for p in graph.parameters.values() if p.role == "weight"]
    for name in names:
        if name not in weights:
            raise unknown_name("weight tensor", name, weights)
    return tuple(n for n in weights if n in set(names))
