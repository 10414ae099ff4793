"""`edgecl tune`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from .show import print_table

HELP = """Measure blocking of the kernels' index lists for one network on this machine, and keep what is faster.

  edgecl tune --model resnet18 --shape 3,32,32 --batch 32 --sparsity 0.9

Takes a few seconds. Plans made here later use the kept entries. Sums are added up block by block, so a later run's
figures differ by rounding from one without them; a saved state goes on with the blocks it began with."""


def command(
    model: Annotated[str, typer.Option(help="network")] = "resnet18",
    shape: Annotated[str, typer.Option(help="of a sample: C,H,W")] = "3,32,32",
    batch: Annotated[int, typer.Option(help="rows of a forward")] = 32,
    sparsity: Annotated[float, typer.Option(help="of the prunable tensors")] = 0.9,
    threads: Annotated[int, typer.Option(help="kernel threads")] = 1,
    steps: Annotated[int, typer.Option(help="timed steps per candidate")] = 5,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="measure, keep nothing")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    import numpy as np

    from ..compiler.blocking import keep_entries
    from ..engine.tune import tune
    from ..errors import BadInput
    from ..graph.builders import build
    from ..sparsity import make_sparse_training

    try:
        sizes = tuple(int(n) for n in shape.split(","))
    except ValueError:
        raise BadInput(f"'{shape}' is no shape.", "Give three numbers, such as --shape 3,32,32.") from None
    if batch < 1 or threads < 1 or steps < 1:
        raise BadInput(f"batch {batch}, threads {threads}, steps {steps}.", "Each must be at least 1.")
    graph = build(model, sizes, 10)
    sparse = make_sparse_training(graph, sparsity=sparsity, mask="static" if sparsity else "none")
    rows = tune(graph, batch, sparse.densities, threads, np.random.default_rng(0), steps)
    changed = {r.key: r.best for r in rows if r.best != r.static}
    path = None if dry_run or not changed else keep_entries(changed)
    if as_json:
        print(json.dumps({"kept": path, "layers": [asdict(r) for r in rows]}, indent=1))
        return
    print_table(
        ["layer", "static", "best", "forward ms", "", "backward ms", ""],
        [
            [r.node, f"{r.static[0]}/{r.static[1]}", f"{r.best[0]}/{r.best[1]}", f"{r.static_ms[0]:.2f}",
             f"{r.best_ms[0]:.2f}", f"{r.static_ms[1]:.2f}", f"{r.best_ms[1]:.2f}"]
            for r in rows
        ],
    )  # fmt: skip
    print("Nothing was kept." if path is None else f"{len(changed)} entries kept in {path}.")
