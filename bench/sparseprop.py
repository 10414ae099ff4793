"""Whole training step against SparseProp 0.1.14 in its automatic mode, the same random masks, interleaved pairs.

SparseProp (Nikdan et al. 2023) swaps each layer whose sparsity exceeds 0.8 for its sparse one when a trial finds
that faster; everything else of its step is torch. Install it beside torch with
`pip install scipy pybind11` and `pip install --no-deps --no-build-isolation sparseprop==0.1.14`.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
from typing import Any

import numpy as np
from common import Neighbours, arguments, interleave, median, quantile, table, write
from ours import Step

from edgecl import _kernels

KEY = ("net", "batch", "density", "threads")


def peer_package() -> Any:
    """The installed package of this program's name: found only while this folder is not searched."""
    here = sys.path.pop(0)
    try:
        return importlib.import_module("sparseprop.utils")
    finally:
        sys.path.insert(0, here)


class SparsePropStep:
    """The torch network pruned by ``masks`` (convolutions in graph order), its layers swapped as SparseProp decides."""

    def __init__(self, net: str, batch: int, masks: list[np.ndarray]) -> None:
        import torch
        from torch_nets import Step as TorchStep

        swap = peer_package().swap_modules_with_sparse
        step = TorchStep(net, batch, False)
        convolutions = [m for m in step.model.modules() if isinstance(m, torch.nn.Conv2d)][1:]
        with torch.no_grad():
            for module, positions in zip(convolutions, masks, strict=True):
                mask = np.zeros(module.weight.numel(), np.float32)
                mask[positions] = 1
                module.weight.mul_(torch.from_numpy(mask).reshape(module.weight.shape))
        with contextlib.redirect_stdout(io.StringIO()) as said:
            step.model = swap(step.model, tuple(step.x.shape), inplace=True)
        self.swapped = said.getvalue().count("replaced with")
        self.convolutions = len(convolutions)
        step.optimizer = torch.optim.SGD(step.model.parameters(), 0.05, momentum=0.9, weight_decay=1e-4)
        self.step = step

    def __call__(self) -> None:
        self.step()


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--net", default="resnet18:32")
    parser.add_argument("--densities", nargs="+", type=float, default=[0.1, 0.05])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=20)
    o = parser.parse_args()
    import torch

    torch.set_num_threads(o.threads)
    net, batch = o.net.split(":")[0], int(o.net.split(":")[1])
    rounds = 5 if o.quick else o.rounds
    rows: list[dict[str, Any]] = []
    for density in o.densities:
        ours = Step(net, batch, density, threads=o.threads)
        peer = SparsePropStep(net, batch, list(ours.masks.values()))
        with Neighbours() as others:
            wall, cpu = interleave({"ours": ours, "peer": peer}, rounds)
        ratios = [p / u for p, u in zip(wall["peer"], wall["ours"])]
        rows.append(
            {
                "net": net,
                "batch": batch,
                "density": density,
                "threads": o.threads,
                "peer": f"SparseProp 0.1.14 auto, {peer.swapped} of {peer.convolutions} layers sparse",
                "peer_ms": median(wall["peer"]) * 1e3,
                "ours_ms": median(wall["ours"]) * 1e3,
                "ratio_median": median(ratios),
                "ratio_iqr": quantile(ratios, 0.75) - quantile(ratios, 0.25),
                "ratio_cpu_median": median([p / u for p, u in zip(cpu["peer"], cpu["ours"])]),
                "others_share": others.share,
                "n": rounds,
            }
        )
        table(rows[-1:])
    write("sparseprop", rows, o.json, ("torch", "sparseprop", "scipy"), KEY, isa=_kernels.isa())


if __name__ == "__main__":
    main()
