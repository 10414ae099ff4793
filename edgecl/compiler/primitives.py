"""What tensor operators are lowered to: iterations over views. `expand` makes them, `tensors` emits them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .views import View

GATES = {"lstm": 4, "gru": 3, "rnn": 1}  # of recurrent layers


@dataclass(frozen=True)
class Source:
    """An operand: a tensor of the graph, or a parameter that is the same for every sample."""

    name: str
    view: View
    parameter: bool = False


@dataclass(frozen=True)
class Each:
    """out = function(sources), at every place of an iteration; ``add``: summed where the output stays in place.

    ``fill``: what the output holds where nothing is written (None: it is written everywhere).
    """

    function: str
    out: View
    sources: tuple[Source, ...]
    alpha: float = 0.0
    beta: float = 0.0
    add: bool = False
    fill: float | None = None


@dataclass(frozen=True)
class Lines:
    """A function of whole lines: the last ``line`` axes of the iteration."""

    function: str
    out: View
    sources: tuple[Source, ...]
    line: int
    alpha: float = 0.0


@dataclass(frozen=True)
class Product:
    """out[.., m, n] = alpha * sum over k of a[.., m, k] * b[.., k, n]; the iteration is (.., m, n, k)."""

    out: View
    sources: tuple[Source, ...]
    alpha: float = 1.0


@dataclass(frozen=True)
class Rows:
    """Along the last axis of the iteration: out[i] = sum over j of weights[i][j] * source[columns[i][j]].

    The source's view is over its own ``size`` positions there.
    """

    out: View
    sources: tuple[Source, ...]
    columns: Sequence[Sequence[int]]
    weights: Sequence[Sequence[float]]
    size: int

    def numbers(self, transposed: int | None = None) -> list[int]:
        """Row starts, columns, weights as bits; ``transposed``: of the transposed matrix, with so many rows."""
        from .views import bits

        columns, weights = self.columns, self.weights
        if transposed is not None:
            turned: list[list[tuple[int, float]]] = [[] for _ in range(transposed)]
            for i, (js, ws) in enumerate(zip(columns, weights)):
                for j, w in zip(js, ws):
                    turned[j].append((i, w))
            columns = [[i for i, _ in row] for row in turned]
            weights = [[w for _, w in row] for row in turned]
        starts = [0]
        for row in columns:
            starts.append(starts[-1] + len(row))
        return [*starts, *(j for row in columns for j in row), *(bits(w) for row in weights for w in row)]


# Derivatives: function -> for each operand (function, its arguments) or None. Letters: g the gradient of the output, y
# the output, a b c the operands.
DERIVATIVES: dict[str, tuple[tuple[str, str] | None, ...]] = {
    "add": (("identity", "g"), ("identity", "g")),
    "sub": (("identity", "g"), ("neg", "g")),
    "mul": (("mul", "gb"), ("mul", "ga")),
    "div": (("div", "gb"), ("d_div_b", "gab")),
    "pow": (("d_pow_a", "gab"), ("d_pow_b", "gab")),
    "minimum": (("d_minimum", "gab"), ("d_minimum", "gba")),
    "maximum": (("d_maximum", "gab"), ("d_maximum", "gba")),
    "prelu": (("d_prelu_a", "gab"), ("d_prelu_b", "ga")),
    "where": (None, ("d_where_b", "ga"), ("d_where_c", "ga")),
    **dict.fromkeys(
        ("floor_mod", "trunc_mod", "less", "less_equal", "greater", "greater_equal", "equal", "logical_and",
         "logical_or", "logical_xor"),
        (None, None),
    ),
}  # fmt: skip

LINE_DERIVATIVES: dict[str, tuple[tuple[str, str] | None, ...]] = {
    "softmax": (("d_softmax", "gy"),),
    "log_softmax": (("d_log_softmax", "gy"),),
    "log_sum_exp": (("d_log_sum_exp", "ga"),),
    "standardise": (("d_standardise", "gab"), ("scale_gradient", "ga"), ("identity", "g")),
    "rms": (("d_rms", "gab"), ("rms_scale_gradient", "ga")),
    "unit": (("d_unit", "ga"),),
    "line_max": (("d_line_max", "ga"),),
    "line_min": (("d_line_min", "ga"),),
    "line_prod": (("d_line_prod", "ga"),),
    "line_argmax": (None,),
}


def derivatives(function: str) -> tuple[tuple[str, str] | None, ...]:
    """Of a function of `Each`; those of one operand follow from their table."""
    if function in DERIVATIVES:
        return DERIVATIVES[function]
    from ..graph.ops.functions import TABLE

    if function == "identity":
        return (("identity", "g"),)
    if function == "relu":  # its operator stands apart, with the fused ones
        return (("d_relu", "ga"),)
    row = TABLE[function]
    return ((f"d_{function}", "gy" if row.from_output else "ga") if row.gradient else None,)
