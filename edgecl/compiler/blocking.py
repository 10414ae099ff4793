"""Blocking: how many channels a block of each convolution's index lists spans, so that the operand stays in L1.

The static table is the rule of `block_channels` in kernels/lists.cpp (geometry, density, lanes, instruction set);
`edgecl tune` measures and keeps better entries for this machine in the cache folder. Whatever is chosen stands in the
plan and in saved states. Each block is summed up by itself, so that other blocks round otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..errors import EdgeclError
from ..folders import cache_path
from ..graph import Graph, Node
from .operations import WEIGHTED, as_map, geometry
from .plan import Plan

FORMAT = 1
MOST = 1 << 20  # channels a block may span
Blocks = tuple[int, int]  # channels per block: forward lists, input-gradient lists


def entry_key(graph: Graph, node_name: str, density: float, lanes: int, isa: str) -> str:
    """What a measured entry holds for: instruction set, lanes, geometry, map, density to 5 %."""
    node = next(n for n in graph.nodes if n.name == node_name)
    _, h, w = as_map(graph.shapes[node.inputs[0]])
    shape = "x".join(map(str, geometry(graph, node)))
    return f"{isa}/{lanes}/{shape}/{h}x{w}/{round(density * 20) / 20:.2f}"


def table_path() -> str:
    return os.path.join(cache_path(), "tuned.json")


def measured_entries() -> dict[str, Blocks]:
    """Entries of `edgecl tune` on this machine; none where it never ran or the file is of another format."""
    if not os.path.exists(table_path()):
        return {}
    from ..storage.bounded import read_json_file  # only where somebody tuned: a bare program stays small

    try:
        found = read_json_file(table_path())
        return {k: sound_blocks(v) for k, v in found["entries"].items()} if found["format"] == FORMAT else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def sound_blocks(value: Any) -> Blocks:
    """Blocks as a file names them; `ValueError` for what the kernels cannot take."""
    found = tuple(value) if isinstance(value, (list, tuple)) else ()
    if len(found) != 2 or any(isinstance(b, bool) or not isinstance(b, int) or not 1 <= b <= MOST for b in found):
        raise ValueError(f"{value!r} are no blocks: two whole numbers from 1 to {MOST}")
    return found


def keep_entries(entries: Mapping[str, Blocks]) -> str:
    """Adds entries to this machine's table; returns where."""
    import json
    from pathlib import Path

    from ..data.cache import flush

    path = Path(table_path())
    path.parent.mkdir(parents=True, exist_ok=True)
    merged = {**measured_entries(), **entries}
    work = path.with_suffix(".new")
    work.write_text(json.dumps({"format": FORMAT, "entries": dict(sorted(merged.items()))}, indent=1))
    flush(work)
    work.rename(path)
    return str(path)


def choose_blocking(
    graph: Graph, densities: Mapping[str, float], lanes: int, overrides: Mapping[str, Blocks] | None = None
) -> dict[str, list[int]]:
    """{convolution or linear node: [forward, input gradient]} channels per block, for the plan.

    ``overrides`` by node name come first, then measured entries, then the static table.
    """
    from .. import _kernels

    measured = measured_entries()
    chosen = {}
    for node in graph.nodes:
        if node.op not in WEIGHTED:
            continue
        density = densities.get(node.parameters[0], 1.0)
        blocks = (overrides or {}).get(node.name) or measured.get(
            entry_key(graph, node.name, density, lanes, _kernels.isa())
        )
        chosen[node.name] = list(blocks or static_blocks(graph, node, density, lanes))
    return chosen


def static_blocks(graph: Graph, node: Node, density: float, lanes: int) -> Blocks:
    """By the rule of the kernels."""
    from .. import _kernels

    positions = [h * w for _, h, w in (as_map(graph.shapes[t]) for t in (node.inputs[0], node.output))]
    return _kernels.block_channels(geometry(graph, node), density, lanes, *positions)


def saved_choices(plan: Plan) -> dict[str, Any]:
    """What a checkpoint keeps of a plan's choices; empty for a plan without a native program."""
    return {k: plan.program[k] for k in ("isa", "lanes", "blocking", "activations")} if plan.program else {}


def with_choices(plan: Plan, saved: Mapping[str, Any]) -> Plan:
    """``plan`` with the blocking a checkpoint was trained with, where it was made for the same vectors and layers."""
    here = saved_choices(plan)
    alike = here and saved and all(here[k] == saved[k] for k in ("isa", "lanes"))
    if not alike or here["blocking"].keys() != saved["blocking"].keys() or here["blocking"] == saved["blocking"]:
        return plan
    try:
        blocks = {name: list(sound_blocks(value)) for name, value in saved["blocking"].items()}
    except ValueError as error:
        raise EdgeclError(f"The saved state does not fit: {error}.", "Use the other generation or a backup.") from error
    return replace(plan, program={**plan.program, "blocking": blocks})
