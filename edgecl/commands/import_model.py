"""`edgecl import`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from ..backbones import BACKBONES
from ..errors import BadInput
from ..graph import Graph
from ..graph.importers import Refused
from ..importing import Wishes, imported_onnx
from ..network import SUFFIX, Network
from .cuts import show_cuts, with_cut
from .places import writable_file
from .refusal import refuse, show
from .show import print_table

HELP = """Make a network of an ONNX file (opset 6 to 28): model.edgecl, which `edgecl run --network` and
Learner take without any other package.

Examples:

  edgecl import mobilenet.onnx --classes 10 --input uint8:3x96x96 --preprocess imagenet

  edgecl import net.onnx --check

  edgecl import net.onnx --list-cuts

It is tried before it is written: its predictions are compared with onnxruntime's, where that is
installed, and it takes one training step. Nodes that cannot be imported are all named, with their places."""

PREPROCESS: dict[str, tuple[Any, Any]] = {  # mean and deviation of values from 0 to 255
    "none": (None, None),
    "tf": (127.5, 127.5),
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
}
CLASSES = 10  # of the head that tails are listed with
_INPUT = re.compile(r"(?:(?P<dtype>uint8|float32):?)?(?P<shape>[0-9]+(?:x[0-9]+)*)?")


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL.onnx", help="the file")],
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="FILE", help="the network; default: the file's name with .edgecl")
    ] = "",
    classes: Annotated[
        str, typer.Option("--classes", metavar="N|LABELS.txt", help="a fresh linear head for so many classes")
    ] = "",
    given: Annotated[
        str,
        typer.Option(
            "--input", metavar="[DTYPE:]CxHxW", help="uint8 or float32, and the shape where the file has none"
        ),
    ] = "",
    mean: Annotated[str, typer.Option("--mean", metavar="M,M,..", help="subtracted from raw values")] = "",
    std: Annotated[str, typer.Option("--std", metavar="S,S,..", help="raw values are then divided by it")] = "",
    preprocess: Annotated[
        str, typer.Option("--preprocess", metavar="NAME", help="mean and deviation of pixels: none, tf or imagenet")
    ] = "none",
    freeze_below: Annotated[
        str, typer.Option("--freeze-below", metavar="NODE", help="it and all it depends on learn nothing")
    ] = "",
    cut: Annotated[
        str, typer.Option("--cut", metavar="TENSOR", help="where it is cut as a backbone, unless --cut of a run says")
    ] = "",
    calibrate: Annotated[
        str, typer.Option("--calibrate", metavar="X.npy", help="samples that say the range of the cut's latents")
    ] = "",
    list_cuts: Annotated[
        bool, typer.Option("--list-cuts", help="list where it can be cut as a backbone; write nothing")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="say whether it can be imported; write nothing")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> int:
    """Import, try, write, say what was made."""
    if list_cuts and (model.endswith(SUFFIX) or model in BACKBONES):
        return show_cuts(model, _known_graph(model, given), _head_width(classes), as_json)
    target = Path(out) if out else Path(model).with_suffix(SUFFIX).name
    target = Path(target)
    if target.suffix != SUFFIX:
        raise BadInput(f"'{target}' does not end in {SUFFIX}.", f"Call it {target.name}{SUFFIX}.")
    dtype, shape = _input(given)
    scale = _scale(preprocess, mean, std)
    dtype = "uint8" if preprocess != "none" and dtype is None else dtype
    wishes = Wishes(_classes(classes), freeze_below or None, dtype, *scale)
    if calibrate and not cut:
        raise BadInput("--calibrate was given without a place to cut.", "Add --cut TENSOR.")
    if not check and not list_cuts:
        writable_file(str(target))
    try:
        network, tried = imported_onnx(model, wishes, shape)
    except Refused as error:
        return _refuse_nodes(error, as_json)
    for warning in network.about.get("warnings", ()):
        show(f"warning: {warning}\n")
    if list_cuts:
        return show_cuts(model, network.graph, _head_width(classes), as_json)
    network = with_cut(network, cut, calibrate)
    if not check:
        network.save(target)
    about = _about(network, None if check else target) | {"trial": vars(tried)}
    if as_json:
        print(json.dumps(about, indent=1))
    else:
        print_table(["", ""], [[k, _cell(v)] for k, v in about.items()])
    return 0


def _known_graph(model: str, given: str) -> Graph:
    """Of a network that is ours already; of a known backbone for samples of the shape that --input says."""
    if model.endswith(SUFFIX):
        return Network.load(model).graph
    known = BACKBONES.get(model)
    return known.build(_input(given)[1] or known.shape)


def _head_width(classes: str) -> int:
    found = _classes(classes)
    return CLASSES if found is None else found if isinstance(found, int) else len(found)


def _refuse_nodes(error: Refused, as_json: bool) -> int:
    """Every node that cannot be imported, a line each."""
    if as_json:
        print(json.dumps({"refused": list(error.lines)}, indent=1))
    else:
        show("".join(f"  {line}\n" for line in error.lines))
    return refuse(error.cause.partition(":\n")[0] + ".", error.remedy)


def _about(network: Network, path: Path | None) -> dict[str, Any]:
    graph = network.graph
    trained = sum(p.size for p in graph.parameters.values() if p.trained)
    found = {
        "network": network.label,
        "input": f"{graph.input_dtype} {'x'.join(map(str, graph.input_shape))}",
        "output": "x".join(map(str, graph.shapes[graph.logits])),
        "nodes": len(graph.nodes),
        "parameters": sum(p.size for p in graph.parameters.values()),
        "that learn": trained,
    }
    return found if path is None else {**found, "file": str(path), "bytes": path.stat().st_size}


def _cell(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    compared = "not compared" if value["runtime"] == "none" else f"within {value['max_abs']:.1g} of {value['runtime']}"
    return f"{compared}; learns; {value['bytes'] / 1e6:.1f} MB to train batches of 3"


def _classes(text: str) -> int | list[str] | None:
    """A number, or the lines of a file."""
    if not text:
        return None
    if text.isdigit():
        return int(text)
    try:
        lines = Path(text).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"--classes '{text}' is no number and no readable file.", "Give a number or labels.") from error
    return [line.strip() for line in lines if line.strip()]


def _input(text: str) -> tuple[str | None, tuple[int, ...] | None]:
    found = _INPUT.fullmatch(text)
    if found is None:
        raise BadInput(f"--input is '{text}'.", "Write it like 3x96x96, uint8:3x96x96 or uint8.")
    shape = found["shape"]
    if shape is not None and len(shape) > 60:
        raise BadInput(f"--input is '{text[:80]}'.", "Write it like 3x96x96.")
    return found["dtype"], None if shape is None else tuple(int(n) for n in shape.split("x"))


def _scale(preprocess: str, mean: str, std: str) -> tuple[Any, Any]:
    """Mean and deviation of raw values, by name or by number."""
    if preprocess not in PREPROCESS:
        raise BadInput(f"Unknown preprocessing '{preprocess}'.", f"Known: {', '.join(PREPROCESS)}.")
    means, deviations = PREPROCESS[preprocess]
    return _numbers("--mean", mean) if mean else means, _numbers("--std", std) if std else deviations


def _numbers(option: str, text: str) -> list[float] | float:
    try:
        values = [float(v) for v in text.split(",")]
    except ValueError:
        raise BadInput(f"{option} is '{text}'.", "Give numbers with commas between them.") from None
    return values[0] if len(values) == 1 else values
