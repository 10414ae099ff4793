"""Where a network can be cut as a backbone: `edgecl import --list-cuts`, --cut and --calibrate."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from ..backbones import BACKBONES
from ..errors import BadInput
from ..fronts.calibrating import calibrated
from ..fronts.cuts import BATCH, list_cuts
from ..graph import Graph
from ..graph.cut import check_cut
from ..network import Network
from .show import print_table, print_text


def show_cuts(model: str, graph: Graph, classes: int, as_json: bool) -> int:
    """A row for each place."""
    names = {t: name for name, t in (BACKBONES.get(model).cuts if model in BACKBONES else {}).items()}
    found = list(list_cuts(graph, classes))
    if not found:
        raise BadInput(f"'{model}' can be cut nowhere.", "It takes a tensor that all ways pass, and a linear head.")
    if as_json:
        print(json.dumps([{**f.to_json(), "name": names.get(f.tensor)} for f in found], indent=1))
        return 0
    rows = []
    for f in found:
        eight = f.bytes.get("uint8", f.bytes.get("int8", 0))
        training = "-" if f.tail_training_bytes is None else f"{f.tail_training_bytes / 1e6:.2f}"
        rows.append([
            f"{f.tensor} ({names[f.tensor]})" if f.tensor in names else f.tensor, "x".join(map(str, f.shape)),
            f"{eight:,}", f"{f.bytes['float16']:,}", f"{f.prefix_flops / 1e6:.1f}", f"{f.tail_flops / 1e6:.1f}",
            f"{f.tail_parameters:,}", training,
        ])  # fmt: skip
    head = ["tensor", "shape", "8 bits", "float16", "MFLOPs before", "behind", "parameters behind", "MB to train"]
    print_table(head, rows)
    print_text(f"Bytes of a sample; FLOPs of a sample forward; a tail with {classes} classes, in batches of {BATCH}.")
    return 0


def with_cut(network: Network, cut: str, samples: str) -> Network:
    """The network with its usual place to cut and, of the samples in the file, the range of latents there."""
    if not cut:
        return network
    if not samples:
        check_cut(network.graph, cut)
        return replace(network, about={**network.about, "cut": cut})
    try:
        x = np.load(samples, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BadInput(f"'{samples}' cannot be read: {error}.", "Give an .npy file of raw samples.") from error
    if not isinstance(x, np.ndarray):
        raise BadInput(f"'{samples}' holds several arrays.", "Give an .npy file of raw samples.")
    return calibrated(network, cut, x)
