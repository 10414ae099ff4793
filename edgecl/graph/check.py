"""A graph from a file, checked before anything is computed with it: every name, attribute, shape and size.

Shapes and parameters are derived anew by the operators' own rules and must be what the file says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..errors import BadInput, EdgeclError
from .graph import Graph, Node, ParameterSpec
from .registry import Operator, operators

MOST_NODES = 100_000
MOST_VALUES = 2**31 - 1  # of one tensor: positions are int32
LONGEST_NAME = 200


def graph_from_json(data: Any) -> Graph:
    """The checked graph of what `Graph.to_json` gave. Raises `BadInput`, naming the place."""
    try:
        graph = Graph.from_json(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"The graph cannot be read ({type(error).__name__}: {error}).", _REMEDY) from error
    return check_graph(graph)


def check_graph(graph: Graph) -> Graph:
    """The graph with shapes and parameters as its operators derive them, which equal those it states.

    Raises `BadInput` for anything in it that operators, compiler and kernels do not expect.
    """
    for what in (graph.name, graph.input, graph.logits):
        _name(what, "the graph")
    if graph.input_dtype not in ("uint8", "float32"):
        raise _refused(f"its input dtype is {graph.input_dtype!r}")
    if not 1 <= len(graph.nodes) <= MOST_NODES:
        raise _refused(f"it has {len(graph.nodes)} nodes")
    if not isinstance(graph.shapes, dict) or graph.input not in graph.shapes:
        raise _refused(f"its input '{graph.input}' has no shape")
    shapes = {graph.input: _shape(graph.shapes[graph.input], graph.input)}
    parameters: dict[str, Any] = {}
    known = operators()
    for node in graph.nodes:
        _check_node(node, known, shapes)
        entry, inputs = known[node.op], [shapes[name] for name in node.inputs]
        try:
            output = _shape(tuple(entry.shape(inputs, node.attributes)), node.name)
            specs = entry.parameters(inputs, node.attributes)
        except EdgeclError as error:
            raise _refused(f"at '{node.name}': {error.cause}") from error
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise _refused(f"the attributes of '{node.name}' ({node.op}) do not suit it: {error}") from error
        if not _are_parameters(node, specs, parameters):
            raise _refused(f"the parameters of '{node.name}' are called {', '.join(map(str, node.parameters))[:200]}")
        for name, spec in zip(node.parameters, specs.values()):
            if spec.size > MOST_VALUES:
                raise _refused(f"'{name}' has {spec.size} values")
            parameters.setdefault(name, spec)
        shapes[node.output] = output
    return _with_derived(graph, shapes, parameters)


def _check_node(node: Node, known: Mapping[str, Operator], shapes: Mapping[str, Any]) -> None:
    _name(node.name, "a node")
    if not isinstance(node.op, str) or node.op not in known:
        raise BadInput(f"Operator {node.op!r} at '{node.name}' is not supported.", f"Supported: {', '.join(known)}.")
    if node.output != node.name or node.output in shapes:
        raise _refused(f"'{node.name}' makes {str(node.output)[:80]!r}")
    for name in node.inputs:
        if not isinstance(name, str) or name not in shapes:
            raise _refused(f"'{node.name}' takes {name!r}, which nothing before it makes")
    if not isinstance(node.attributes, dict):
        raise _refused(f"the attributes of '{node.name}' are no table")
    if missing := set(known[node.op].optional_attributes) - set(node.attributes):  # a builder fills them in
        raise _refused(f"'{node.name}' ({node.op}) has no attribute {min(missing)!r}")
    kinds = {**ATTRIBUTES, **getattr(known[node.op], "attribute_kinds", {})}
    for key, value in node.attributes.items():
        if key not in kinds or not _suits(kinds[key], value):
            raise _refused(f"attribute {key!r} of '{node.name}' ({node.op}) is {str(value)[:80]}")


def _suits(kind: Callable[[Any], bool], value: Any) -> bool:
    """Whether a value out of a file is of a kind, whatever it is."""
    try:
        return kind(value)
    except (TypeError, ValueError, OverflowError):  # no list of lists, a number that no float holds
        return False


def _are_parameters(node: Node, specs: Mapping[str, ParameterSpec], earlier: Mapping[str, ParameterSpec]) -> bool:
    """Whether a node's parameters are its own new ones, or of an earlier node by the same local name and shape."""
    if not all(isinstance(full, str) for full in node.parameters):
        return False
    if len(node.parameters) != len(specs) or len(set(node.parameters)) != len(specs):
        return False
    for full, (local, spec) in zip(node.parameters, specs.items()):
        shared = earlier.get(full)
        own = shared is None and full == f"{node.name}.{local}"
        if not own and (shared is None or full.rpartition(".")[2] != local or replace(shared, name="") != spec):
            return False
    return True


def _with_derived(graph: Graph, shapes: dict[str, Any], parameters: Mapping[str, Any]) -> Graph:
    """The graph with what its nodes have, in the right types (8.0 of a file equals 8); refused where it says other."""
    first = graph.nodes[0]
    if first.op != "normalise" or first.inputs != (graph.input,):
        raise _refused("its first node does not normalise its input")
    if any(graph.input in node.inputs for node in graph.nodes[1:]):
        raise _refused("its input is used without normalisation")
    if graph.logits not in shapes or graph.logits == graph.input:
        raise _refused(f"its logits '{graph.logits}' are no tensor that a node makes")
    if dict(graph.shapes) != shapes:
        raise _refused("its shapes are not those of its nodes")
    if list(graph.parameters) != list(parameters):
        raise _refused("its parameters are not those of its nodes")
    derived = {}
    for name, spec in parameters.items():
        stated = graph.parameters[name]
        if type(stated.prunable) is not bool or (stated.prunable and spec.role != "weight"):
            raise _refused(f"'{name}' is marked prunable")
        if type(stated.frozen) is not bool:
            raise _refused(f"'{name}' is marked frozen")
        derived[name] = replace(spec, name=name, prunable=stated.prunable, frozen=stated.frozen)
        if stated != derived[name]:
            raise _refused(f"'{name}' is not what its node has")
    features = graph.notes.get("features") if isinstance(graph.notes, dict) else ()
    if features is not None and (not isinstance(features, str) or features not in shapes):
        raise _refused("its notes name no tensor as features")
    return replace(graph, shapes=shapes, parameters=derived)


def _whole(low: int) -> Callable[[Any], bool]:
    return lambda v: type(v) is int and low <= v <= MOST_VALUES


def _two(low: int) -> Callable[[Any], bool]:
    one = _whole(low)
    return lambda v: isinstance(v, (list, tuple)) and len(v) == 2 and all(map(one, v))


def _whole_list(v: Any, low: int) -> bool:
    return isinstance(v, (list, tuple)) and all(map(_whole(low), v))


def _finite(v: Any) -> bool:
    return type(v) in (int, float) and abs(v) < 1e30  # and so as float32; not NaN


# What an attribute of this name may be; an operator with others says so in ``attribute_kinds``.
ATTRIBUTES: dict[str, Callable[[Any], bool]] = {
    "out": _whole(1),
    "groups": _whole(1),
    "pad": _whole(0),
    "kernel": _two(1),
    "stride": _two(1),
    "padding": lambda v: _whole_list(v, 0) and len(v) in (2, 4),
    "bias": lambda v: type(v) is bool,
    "eps": lambda v: _finite(v) and 0 < v <= 1,
    "momentum": lambda v: _finite(v) and 0 <= v <= 1,
    "p": lambda v: _finite(v) and 0 <= v < 1,
    "mean": lambda v: isinstance(v, (list, tuple)) and all(map(_finite, v)),
    "std": lambda v: isinstance(v, (list, tuple)) and all(_finite(x) and x > 1e-30 for x in v),
    **dict.fromkeys(("keep", "last", "linear", "reverse", "reset_after", "trained", "ceil"), lambda v: type(v) is bool),
    "count_include_pad": lambda v: type(v) is bool,
    **dict.fromkeys(("alpha", "beta", "scale", "gamma", "value", "exponent", "shift"), lambda v: _finite(v)),
    **dict.fromkeys(("axes", "start", "step", "before", "after"), lambda v: _whole_list(v, -(2**31))),
    **dict.fromkeys(("low", "high"), lambda v: type(v) in (int, float) and math.isfinite(v)),
    "columns": lambda v: isinstance(v, (list, tuple)) and all(_whole_list(row, 0) for row in v),
    "weights": lambda v: isinstance(v, (list, tuple)) and all(_finite(x) for row in v for x in row),
    **dict.fromkeys(("shape", "size"), lambda v: _whole_list(v, 1)),
    "axis": lambda v: type(v) is int and abs(v) <= MOST_NODES,
    "hidden": _whole(1),
    "heads": _whole(1),
    "parts": _whole(1),
    "dilation": _two(1),
    "output_padding": _two(0),
    "init": lambda v: isinstance(v, str) and len(v) <= LONGEST_NAME,
}


def _shape(shape: Any, name: str) -> tuple[int, ...]:
    if not isinstance(shape, tuple) or not shape or not all(map(_whole(1), shape)):
        raise _refused(f"'{name}' has shape {shape}")
    if math.prod(shape) > MOST_VALUES:
        raise _refused(f"'{name}' has {math.prod(shape)} values a sample")
    return shape


def _name(name: Any, what: str) -> None:
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or name.startswith("@") or "\0" in name:
        raise _refused(f"the name of {what} is {str(name)[:80]!r}")


_REMEDY = "Use a network as edgecl wrote or built it."


def _refused(why: str) -> BadInput:
    return BadInput(f"The graph is not sound: {why}.", _REMEDY)
