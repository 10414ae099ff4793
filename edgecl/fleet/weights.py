"""Between a learner's own state and what a fleet shares: weights out of one, and into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import BadInput
from ..graph import Graph
from ..graph.widen import head_parameters
from ..methods.sums import BLOCK
from .model import Array, FleetModel, Label, Schema, Sums, Tensor, on_pattern


def schema_of(graph: Graph, state: Mapping[str, Any], bn: str = "local", body: bool = True) -> Schema:
    """What of a learner's network travels. ``state``: of `LiveModel.state`.

    bn : ``local``: running statistics stay on the device; ``mean``: they travel as weights do
    body : False: weights stay as they came, only sums of features travel (closed-form heads over a frozen body)
    """
    head, engine, tensors = set(head_parameters(graph)), state["engine"], []
    for name, spec in graph.parameters.items() if body else ():
        if not (spec.trained or (spec.role == "statistic" and bn == "mean" and not spec.frozen)):
            continue
        sparse = f"{name}/pattern" in engine
        if name in head and sparse:
            raise BadInput(f"The head '{name}' is sparse.", "Leave it dense in a fleet: its rows travel by label.")
        kind = "head" if name in head else "sparse" if sparse else "dense"
        shape = tuple(spec.shape[1:]) if kind == "head" else tuple(spec.shape)
        tensors.append(Tensor(name, shape, kind))
    if not body and state["method"].get("records") is None:
        raise BadInput("The method solves no head from sums of features.", "Use ncm, slda or ridge.")
    return Schema(tuple(tensors), None if body else _sums_schema(state["method"]))


def _sums_schema(method: Mapping[str, Any]) -> tuple[int, bool]:
    if "sums" not in method:
        raise BadInput("The learner has not counted a sample yet.", "Let it learn first.")
    return int(method["sums"].shape[1]), "block0" in method


def read(schema: Schema, state: Mapping[str, Any], units: Sequence[Label | None]) -> FleetModel:
    """What a learner's state shares. ``units``: the label of each head unit that has one, in their order."""
    rows = _rows(units)
    engine, values, patterns = state["engine"], {}, {}
    for t in schema.tensors:
        own = engine[f"{t.name}/values"]
        if t.kind == "head":
            own = own.reshape(-1, t.size)[list(rows.values())].reshape(-1)
        elif t.kind == "sparse":
            pattern = engine.get(f"{t.name}/pattern")
            patterns[t.name] = np.arange(t.size, dtype=np.int32) if pattern is None else pattern
        values[t.name] = own
    sums = None if schema.sums is None else sums_of(state["method"], list(rows.values()), schema)
    return FleetModel(schema, tuple(rows), values, patterns, sums)


def _rows(units: Sequence[Label | None]) -> dict[Label, int]:
    """The first unit of each label."""
    found: dict[Label, int] = {}
    for unit, label in enumerate(units):
        if label is not None:
            found.setdefault(label, unit)
    return found


def written(model: FleetModel, state: Mapping[str, Any], units: Sequence[Label | None]) -> dict[str, Any]:
    """A learner's state with the fleet's weights: survivors keep optimizer state, newcomers start without. Rows of
    labels that the learner does not know are left out, those of labels the fleet does not know stay.
    """
    rows, engine, moved = _rows(units), dict(state["engine"]), set()
    for t in model.schema.tensors:
        key = f"{t.name}/values"
        if t.kind == "head":
            own = engine[key].reshape(-1, t.size).copy()
            for label, row in zip(model.labels, model.values[t.name].reshape(len(model.labels), t.size)):
                if label in rows:
                    own[rows[label]] = row
            engine[key] = own.reshape(-1)
            continue
        if t.kind == "sparse":
            old, new = engine.get(f"{t.name}/pattern"), model.patterns[t.name]
            old = np.arange(t.size, dtype=np.int32) if old is None else old
            if not np.array_equal(old, new):
                moved.add(t.name)
                _move(engine, t.name, old, new)
        engine[key] = model.values[t.name].astype(np.float32)
    kept = {k: v for k, v in state["sparse"].items() if k.partition("/")[2] not in moved}
    return {**state, "engine": engine, "sparse": kept}


def _move(engine: dict[str, Array], name: str, old: Array, new: Array) -> None:
    """Arrays beside the weights of one tensor, on another pattern."""
    engine[f"{name}/pattern"] = new
    engine.pop(f"{name}/gradient_subset", None)
    for key in list(engine):
        if key.startswith((f"{name}/moment/", f"{name}/per_weight/")):
            engine[key] = on_pattern(engine[key], old, new)


# -- sums of features, as `edgecl.methods.sums` keeps them


def sums_of(method: Mapping[str, Array], rows: Sequence[int], schema: Schema) -> Sums:
    """Of a closed-form method's state, by label."""
    assert schema.sums is not None
    width = schema.sums[0]
    counts, sums = np.zeros(len(rows)), np.zeros((len(rows), width))
    there = [i for i, row in enumerate(rows) if row < len(method["counts"])]
    counts[there] = method["counts"][[rows[i] for i in there]]
    sums[there] = method["sums"][[rows[i] for i in there]]
    packed = [np.zeros(0)]
    if schema.sums[1]:
        for i in range(0, width, BLOCK):
            block = method[f"block{i // BLOCK}"]
            packed += [block[r, r:] for r in range(len(block))]
    return Sums(counts, sums, np.concatenate(packed))


def with_sums(method: Mapping[str, Any], total: FleetModel, units: Sequence[Label | None]) -> dict[str, Any]:
    """A closed-form method's state that counted what the fleet did, of the labels the learner knows."""
    sums, rows = total.sums, _rows(units)
    assert sums is not None and total.schema.sums is not None
    width, second = total.schema.sums
    found, wide = dict(method), max((*rows.values(), len(method["counts"]) - 1)) + 1
    found["counts"], found["sums"] = np.zeros(wide), np.zeros((wide, width))
    for i, label in enumerate(total.labels):
        if label in rows:
            found["counts"][rows[label]], found["sums"][rows[label]] = sums.counts[i], sums.sums[i]
    at = 0
    for i in range(0, width if second else 0, BLOCK):
        block = np.zeros((min(BLOCK, width - i), width - i))
        for r in range(len(block)):
            n = width - i - r
            block[r, r:] = sums.second[at : at + n]
            at += n
        for r in range(1, len(block)):
            block[r, :r] = block[:r, r]
        found[f"block{i // BLOCK}"] = block
    return found
