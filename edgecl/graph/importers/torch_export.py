"""from_torch: a torch module as a graph with weights, through torch.export's own graph, before decomposition.

The example is repeated to a batch of an unlikely size (a view: no memory), so that whatever depends on the batch shows
as that number or a multiple of it, and nothing else does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...errors import BadInput, EdgeclError, require
from .emit import Emit
from .finish import finish_import, start_import
from .foreign import Data, Imported, Missing, Unsupported, Value, refuse_all
from .torch_ops import HANDLERS, Call

MANY = 10007


def from_torch(
    module: Any, example: Any, *, classes: int | None = None, input_dtype: str = "float32", mean: Any = None,
    std: Any = None, name: str | None = None,
) -> Imported:  # fmt: skip
    """The graph and weights of a ``torch.nn.Module``; raises `BadInput` naming every node that cannot be imported.

    example : one input batch, a float tensor [B, ...]; only its shape is used
    classes : a fresh linear head of so many classes in place of the module's last linear layer
    input_dtype, mean, std : what the network is fed with and how it is normalised (in units of the raw input)
    """
    torch = require("torch", "torch")
    if not isinstance(module, torch.nn.Module) or not isinstance(example, torch.Tensor) or example.ndim < 2:
        raise BadInput(
            "from_torch takes a module and one example batch [B, ...].", "Pass a tensor with a batch of samples."
        )
    program = _export(torch, module, example)
    shape = [int(n) for n in example.shape[1:]]
    builder, tensor = start_import(name or type(module).__name__.lower(), shape, input_dtype, mean, std)
    emit = Emit(builder, MANY)
    reader = _Reader(torch, program)
    values = reader.constants()
    values[reader.fed()] = Data(tensor, builder.shapes[tensor], 0)
    total = reader.run(emit, values)
    if reader.refused:
        raise refuse_all(reader.refused, total)
    outputs = {n: values[n] for n in reader.outputs() if n in values}
    notes = {
        "source": {"kind": "torch", "producer": f"torch {torch.__version__}", "nodes": total},
        "warnings": emit.warnings,
    }
    return finish_import(emit, outputs, classes, notes)


def _export(torch: Any, module: Any, example: Any) -> Any:
    """Exported in evaluation mode; the module's own mode comes back."""
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        repeated = example[:1].detach().expand(MANY, *example.shape[1:])
        return torch.export.export(module, (repeated,), strict=False)
    except Exception as error:  # whatever the module or the exporter raises
        text = str(error).strip().splitlines()
        raise BadInput(
            f"torch.export cannot trace the module: {type(error).__name__}: {text[0][:300] if text else ''}",
            "Its forward must not depend on the values of its input.",
        ) from error
    finally:
        for m, training in modes:
            m.training = training


class _Reader:
    def __init__(self, torch: Any, program: Any) -> None:
        self.torch, self.program = torch, program
        self.nodes = list(program.graph.nodes)
        self.refused: list[tuple[str, str, str]] = []
        self.keys: dict[str, str] = {}  # placeholder -> the parameter's name in the module

    def constants(self) -> dict[str, Value]:
        """Parameters, buffers and constants by placeholder."""
        signature, state = self.program.graph_signature, dict(self.program.state_dict)
        held = {**state, **dict(self.program.constants)}
        found: dict[str, Value] = {}
        storage: dict[int, str] = {}  # parameters that are one tensor have one key
        for placeholder, name in {
            **signature.inputs_to_parameters, **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }.items():  # fmt: skip
            value = held[name]
            if not isinstance(value, self.torch.Tensor):
                continue
            array = value.detach().cpu()
            if array.dtype in (self.torch.float16, self.torch.bfloat16):
                array = array.float()
            found[placeholder] = array.numpy()
            self.keys[placeholder] = storage.setdefault(value.data_ptr(), name) if value.numel() else name
        return found

    def fed(self) -> str:
        names = list(self.program.graph_signature.user_inputs)
        if len(names) != 1:
            raise BadInput(
                f"The module takes {len(names)} inputs; one is possible.", "Wrap it in one that fixes the others."
            )
        return str(names[0])

    def outputs(self) -> list[str]:
        return [str(n) for n in self.program.graph_signature.user_outputs if isinstance(n, str)]

    def run(self, emit: Emit, values: dict[str, Value]) -> int:
        lost: set[str] = set()
        count = 0
        for node in self.nodes:
            if node.op != "call_function":
                continue
            count += 1
            op, place = _name(node), _place(node)
            reads = [n.name for n in node.all_input_nodes]
            if any(r in lost for r in reads):
                lost.add(node.name)
                if op not in HANDLERS:
                    self.refused.append((op, place, "is not supported"))
                continue
            try:
                if op not in HANDLERS:
                    raise Unsupported("is not supported")
                emit.place = place
                call = self._call(node, values)
                found = HANDLERS[op](emit, call)
            except (EdgeclError, ValueError, IndexError, KeyError, TypeError, RuntimeError) as error:
                why = (
                    error.cause
                    if isinstance(error, Unsupported)
                    else f"is not as its operator asks: {error}".rstrip(".")
                )
                self.refused.append((op, place, why))
                lost.add(node.name)
                continue
            if isinstance(found, np.generic):
                found = np.asarray(found)
            values[node.name] = found  # type: ignore[assignment]
            if _in_place(node):
                values[reads[0]] = found  # type: ignore[assignment]
        return count

    def _call(self, node: Any, values: Mapping[str, Value]) -> Call:
        def resolve(arg: Any) -> Any:
            if hasattr(arg, "all_input_nodes") and hasattr(arg, "name"):
                found = values[arg.name]
                if isinstance(found, Missing):
                    raise Unsupported(f"reads what is not made here: {found.what}")
                return found
            if isinstance(arg, (list, tuple)):
                return [resolve(a) for a in arg]
            return arg

        schema = getattr(node.target, "_schema", None)
        names: dict[str, str] = {}
        if schema is None:
            arguments = {str(i): resolve(a) for i, a in enumerate(node.args)}
        else:
            arguments = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
            given = {**{a.name: v for a, v in zip(schema.arguments, node.args)}, **node.kwargs}
            for key, value in given.items():
                arguments[key] = resolve(value)
                if getattr(value, "name", None) in self.keys:
                    names[key] = self.keys[value.name]
        return Call(_name(node), arguments, names)


def _name(node: Any) -> str:
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return getattr(node.target, "__name__", str(node.target))
    name = schema.name.split("::")[-1]
    return name[:-1] if name.endswith("_") and not name.startswith("_") and not name.endswith("__") else name


def _in_place(node: Any) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.name.endswith("_") and not schema.name.endswith("__")


def _place(node: Any) -> str:
    """The module's path where the exporter knows it, else the node's name."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [v[0] for v in stack.values() if isinstance(v, (list, tuple)) and v and v[0]]
    if not paths:
        return str(node.name)
    path = re.sub(r"^L\['self'\]\.?|^L__self___?", "", str(paths[-1]))
    return path or str(node.name)
