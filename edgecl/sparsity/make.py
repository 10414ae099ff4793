"""make_sparse_training: from the choices a user makes to a `SparseTraining`."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import BadInput, unknown_name
from ..graph import Graph
from .allocation import allocate
from .base import SparsityPolicy
from .dgm import DGM
from .static import Static
from .tdm import TDM
from .training import SparseTraining


def make_sparse_training(
    graph: Graph,
    *,
    sparsity: float = 0.0,
    mask: str = "tdm",
    gradient_keep: float = 1.0,
    form: str = "released",
    allocation: str = "uniform",
    names: Sequence[str] | None = None,
    delta: float = 0.01,
    weight: float = 0.5,
    alpha: float = 0.5,
    beta: float = 0.5,
    refresh: int = 30,
    update_every: int = 100,
) -> SparseTraining:
    """Sparse training of ``names`` (default: the graph's prunable tensors).

    sparsity : share of zero weights over those tensors, [0, 1); 0 makes no mask
    mask : ``tdm``, ``static`` or ``none`` (none goes with sparsity 0)
    gradient_keep : share of living weights that get a gradient (DGM), (0, 1]; 1 is no gradient masking
    form : ``released`` or ``paper``;  allocation : ``uniform`` or ``erk``
    delta, weight, alpha, beta, update_every : see `TDM`;  refresh : see `DGM`
    Raises `BadInput` for a value out of range or a name that is no weight of the graph.
    """
    if mask not in ("tdm", "static", "none"):
        raise unknown_name("mask", mask, ("tdm", "static", "none"))
    if form not in ("released", "paper"):
        raise unknown_name("form", form, ("released", "paper"))
    if not 0.0 <= sparsity < 1.0:
        raise BadInput(f"The sparsity is {sparsity}.", "Use a fraction from 0 up to, but not including, 1.")
    if not 0.0 < gradient_keep <= 1.0:
        raise BadInput(f"The gradient keep fraction is {gradient_keep}.", "Use a fraction above 0 and up to 1.")
    if mask == "none" and sparsity > 0:
        raise BadInput(f"Sparsity {sparsity} was asked for with no mask.", "Use mask tdm or static, or sparsity 0.")
    names = _weights(graph, names)
    if not names and (sparsity > 0 or gradient_keep < 1):
        raise BadInput(f"Network '{graph.name}' has no prunable tensor.", "Name the tensors to make sparse.")
    specs = [graph.parameters[n] for n in names]
    densities = allocate(allocation, specs, 1.0 - sparsity) if specs and sparsity > 0 else {}
    for spec in specs:
        if densities and densities[spec.name] * spec.size < 0.5:
            raise BadInput(
                f"At sparsity {sparsity} no weight of '{spec.name}' ({spec.size} weights) would live.",
                "Lower the sparsity or leave the tensor dense.",
            )
    policy: SparsityPolicy = Static()
    if mask == "tdm" and densities:
        policy = TDM(form=form, delta=delta, weight=weight, alpha=alpha, beta=beta, update_every=update_every)
    dgm = None
    if gradient_keep < 1.0:
        dgm = DGM(gradient_keep, refresh=refresh, form=form, alpha=alpha, beta=beta)
    return SparseTraining(
        {s.name: s.size for s in specs},
        densities,
        policy,
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
            "delta": delta,
            "weight": weight,
            "alpha": alpha,
            "beta": beta,
            "refresh": refresh,
            "update_every": update_every,
        },
    )


def _weights(graph: Graph, names: Sequence[str] | None) -> tuple[str, ...]:
    """The named weight tensors in graph order, so that random draws do not depend on how they were listed."""
    if names is None:
        return graph.prunable()
    weights = [p.name for p in graph.parameters.values() if p.role == "weight"]
    for name in names:
        if name not in weights:
            raise unknown_name("weight tensor", name, weights)
    return tuple(n for n in weights if n in set(names))
