"""What the reproduction ledger claims: rows of figures, of orders and of invariants, with the options of our runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

FASHION, DIGITS = "fashion20k-peers", "split-mnist5k-peers"
MARGIN = 2.0  # points, fixed before any run
# What both sides do: SGD lr .03, batch 32 + replay 32, 5 epochs a task, memory 500, x/255, separate forwards
COMMON: dict[str, Any] = {
    "network": "cnn221", "epochs": 5, "batch": 32, "lr": 0.03, "memory": 500, "memory_policy": "reservoir",
    "replay_forward": "separate",
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A claim.

    claim : ``figure`` against a peer, ``order`` against another method of ours, ``invariant`` that a function checks
    options : of our runs;  peer : (peer's name, its method, batch of runs) in peers.json
    against : options of the runs that ours should beat;  check : name of a function in ledger_checks
    differences : between their protocol and ours, not known to be harmless
    """

    id: str
    method: str
    claim: str
    options: dict[str, Any] = field(default_factory=dict)
    peer: tuple[str, str] | None = None
    against: dict[str, Any] | None = None
    check: str | None = None
    differences: tuple[str, ...] = ()
    says: str = ""

    @property
    def stream(self) -> str:
        return str(self.options.get("stream", ""))


def _figure(stream: str, method: str, peer: tuple[str, str], *differences: str, says: str = "", **options: Any) -> Row:
    given = {"stream": stream, "method": method, **COMMON, **options}
    name = f"{method}/{stream}/cnn221/m{given['memory']}/e{given['epochs']}"
    return Row(name if not says else f"{name}/{says}", method, "figure", given, peer, None, None, differences, says)


def _order(stream: str, better: dict[str, Any], worse: dict[str, Any], says: str) -> Row:
    a, b = ({"stream": stream, **COMMON, **o} for o in (better, worse))
    return Row(f"{better['method']}-over-{worse['method']}/{stream}", better["method"], "order", a, None, b, says=says)


COSINE = "a cosine head there, a linear one here"
BODY = "the body learns on the first task by plain SGD, as here"
MAMMOTH, AVALANCHE = "Mammoth e75a491", "Avalanche 0.6.0"
FIGURES = (
    _figure(FASHION, "er", (MAMMOTH, "er")),
    _figure(FASHION, "der++", (MAMMOTH, "derpp"), alpha=0.2, beta=0.5, draws=2),
    _figure(FASHION, "er-ace", (MAMMOTH, "er_ace+linear"), replay_from="second task"),
    _figure(FASHION, "er-ace", (MAMMOTH, "er_ace"), COSINE, says="cosine", replay_from="second task"),
    _figure(FASHION, "cls-er", (MAMMOTH, "clser"), consistency=2.0, stable_rate=0.9, plastic_rate=1.0,
            stable_decay=0.99, plastic_decay=0.99),
    _figure(FASHION, "bic", (MAMMOTH, "bic"), memory_policy="balanced"),
    _figure(FASHION, "icarl", (MAMMOTH, "icarl"), memory_policy="herding"),
    _figure(FASHION, "gdumb", (MAMMOTH, "gdumb"), memory_policy="greedy"),
    _figure(FASHION, "slda", (AVALANCHE, "slda")),
    _figure(FASHION, "ridge", (AVALANCHE, "acil"), random_features=512),
    _figure(DIGITS, "naive", (MAMMOTH, "naive")),
    _figure(DIGITS, "slda", (AVALANCHE, "slda")),
    _figure(DIGITS, "ridge", (AVALANCHE, "acil"), random_features=512),
    _figure(DIGITS, "a-gem", (MAMMOTH, "agem"), "a reservoir here, one batch a task there"),
    _figure(DIGITS, "lwf", (MAMMOTH, "lwf"), alpha=3.0, weight_decay=5e-4),
)  # fmt: skip
ORDERS = (
    _order(FASHION, {"method": "er"}, {"method": "naive"}, "replay beats none"),
    _order(FASHION, {"method": "joint"}, {"method": "er"}, "joint is the ceiling"),
    _order(FASHION, {"method": "cls-er"}, {"method": "er"}, "averages help"),
    _order(DIGITS, {"method": "slda"}, {"method": "naive"}, "a solved head beats a forgetting one"),
    _order(DIGITS, {"method": "slda"}, {"method": "er"}, "and replay, with no sample kept"),
    _order(DIGITS, {"method": "ridge", "random_features": 512}, {"method": "naive"}, "likewise"),
    _order(DIGITS, {"method": "er-ace"}, {"method": "er"}, "the asymmetric loss helps"),
    _order(DIGITS, {"method": "ncm"}, {"method": "naive"}, "means beat forgetting"),
    _order(DIGITS, {"method": "joint"}, {"method": "naive"}, "joint is the ceiling"),
    _order(DIGITS, {"method": "gdumb", "memory_policy": "greedy"}, {"method": "er"}, "the honesty check"),
)
INVARIANTS = (
    Row("ridge/any-order", "ridge", "invariant", check="ridge_any_order", says="one head for any order of the samples"),
    Row("ridge/forgets", "ridge", "invariant", check="ridge_forgets", says="subtracting is never having seen, to 1e-6"),
    Row("slda/batch", "slda", "invariant", check="lda_is_batch_lda", says="the batch solution, to 1e-6"),
    Row("a-gem/first-task-is-naive", "a-gem", "invariant", check="agem_is_naive", says="naive bit for bit"),
    Row("der/alpha-0-is-naive", "der", "invariant", check="der_without_alpha", says="on a net without batch norm"),
)
ROWS = (*INVARIANTS, *ORDERS, *FIGURES)
