"""Whole training step, ours against dense torch (the better of default and channels_last), interleaved.

A step is forward, cross-entropy, backward, batch norm and SGD with momentum; all convolutions but the stem and
depthwise ones are sparse, with random masks. The table is measured in groups of at most a minute each, which
``--json`` merges into one file: `python bench/step.py --list` names them, `--group NAME ...` runs some. A group
whose ``isa`` is given runs in a process where torch is held to that instruction set too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from common import Neighbours, arguments, interleave, median, quantile, table, write

KEY = ("net", "batch", "isa", "threads", "allocation", "gradient_keep", "density", "peer_kind")
SPARSE = (0.25, 0.1, 0.05)
SLOW = ("resnet18", "mobilenetv2")
TORCH_ISA = {"avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}}


@dataclass(frozen=True)
class Group:
    """Cases timed in turns with one peer. ``peer``: ``torch`` or ``one_thread`` (ours on one thread)."""

    net: str
    batch: int
    densities: tuple[float, ...] = SPARSE
    keep: float = 1.0
    threads: int = 2
    allocation: str = "uniform"
    isa: str = ""
    peer: str = "torch"


def groups() -> dict[str, Group]:
    found = {}
    for net, batch in (("resnet18", 32), ("resnet18", 8), ("resnet20", 32), ("resnet20", 8), ("mobilenetv2", 32)):
        name = f"{net}:{batch}"
        found[name] = Group(net, batch)
        found[f"{name}:one_thread"] = Group(net, batch, threads=1)
        found[f"{name}:scaling"] = Group(net, batch, peer="one_thread")
    for net in ("cnn1d", "cnn", "ds_cnn"):
        found[f"{net}:16"] = Group(net, 16, (0.1,))
        found[f"{net}:16:one_thread"] = Group(net, 16, (0.1,), threads=1)
    found["resnet18:32:keep20"] = Group("resnet18", 32, keep=0.2)
    found["resnet18:32:erk"] = Group("resnet18", 32, allocation="erk")
    found["resnet20:32:erk"] = Group("resnet20", 32, allocation="erk")
    found["resnet18:32:dense"] = Group("resnet18", 32, (1.0,))
    found["resnet20:32:dense"] = Group("resnet20", 32, (1.0,))
    for density in SPARSE:
        percent = round(100 * (1 - density))
        found[f"resnet18:32:avx2:{percent}"] = Group("resnet18", 32, (density,), threads=1, isa="avx2")
    return found


def side_by_side(*steps: Callable[[], None]) -> Callable[[], None]:
    """Independent steps at once, a thread each: what two cores give that share nothing but the machine."""
    pool = ThreadPoolExecutor(len(steps))
    return lambda: [done.result() for done in [pool.submit(s) for s in steps]] and None


def measure(group: Group, rounds: int) -> list[dict[str, Any]]:
    from ours import Step

    from edgecl import _kernels

    def ours(density: float, threads: int) -> Any:
        return Step(group.net, group.batch, density, group.keep, threads, group.allocation)

    contenders: dict[str, Any] = {str(d): ours(d, group.threads) for d in group.densities}
    peers: dict[float, list[str]]
    if group.peer == "torch":
        import torch
        from torch_nets import Step as TorchStep

        torch.set_num_threads(group.threads)
        names = {"default": f"torch {torch.__version__} dense default"}
        names["channels_last"] = f"torch {torch.__version__} dense channels_last"
        for layout in names:
            contenders[layout] = TorchStep(group.net, group.batch, layout == "channels_last")
        peers = {d: list(names) for d in group.densities}
    else:
        names = {f"one {d}": "edgecl, 1 thread" for d in group.densities}
        for d in group.densities:
            contenders[f"one {d}"] = ours(d, 1)
            contenders[f"both {d}"] = side_by_side(ours(d, 1), ours(d, 1))
        peers = {d: [f"one {d}"] for d in group.densities}
    with Neighbours() as others:
        wall, cpu = interleave(contenders, rounds)
    rows = []
    for d in group.densities:
        best = min(peers[d], key=lambda n: median(wall[n]))
        mine = str(d)
        ratios = [p / o for p, o in zip(wall[best], wall[mine])]
        both = wall.get(f"both {d}")
        rows.append(
            {
                **({"side_by_side": median([2 * p / b for p, b in zip(wall[best], both)])} if both else {}),
                "net": group.net,
                "batch": group.batch,
                "density": d,
                "gradient_keep": group.keep,
                "allocation": group.allocation,
                "threads": group.threads,
                "isa": _kernels.isa(),
                "peer_kind": group.peer,
                "peer": names[best],
                "peer_ms": median(wall[best]) * 1e3,
                "ours_ms": median(wall[mine]) * 1e3,
                "peer_cpu_ms": median(cpu[best]) * 1e3,
                "ours_cpu_ms": median(cpu[mine]) * 1e3,
                "ratio_median": median(ratios),
                "ratio_iqr": quantile(ratios, 0.75) - quantile(ratios, 0.25),
                "ratio_cpu_median": median([p / o for p, o in zip(cpu[best], cpu[mine])]),
                "others_share": others.share,
                "n": rounds,
            }
        )
    return rows


def held_to(isa: str) -> None:
    """This program again in a process where both sides see no newer instruction set; returns when already there."""
    if not isa or os.environ.get("EDGECL_ISA") == isa:
        return
    environment = {**os.environ, **TORCH_ISA[isa], "EDGECL_ISA": isa}
    os.execve(sys.executable, [sys.executable, *sys.argv], environment)


def main() -> None:
    known = groups()
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="name the groups")
    parser.add_argument("--group", nargs="+", metavar="NAME", default=["resnet18:32"], choices=list(known))
    parser.add_argument("--base", metavar="COMMIT", help="instead: steps through Learner against this commit")
    parser.add_argument("--rounds", type=int, help="turns of each contender; default 20, 60 for steps of milliseconds")
    options = parser.parse_args()
    if options.list:
        print("\n".join(known))
        return
    if options.base:
        from against_base import CASES, PAIRS
        from against_base import measure as against

        found = against(options.base, list(CASES), 8 if options.quick else options.rounds or PAIRS)
        table(found, ("net", "batch", "density", "peer", "base_us", "ours_us", "against_base",
                      "against_base_interval", "against_base_wall", "others_share", "n"))  # fmt: skip
        write("step", found, options.json, (), KEY)
        return
    chosen = [known[name] for name in options.group]
    isas = {g.isa for g in chosen}
    if len(isas) > 1:
        parser.error("groups of different instruction sets need a process each")
    held_to(isas.pop())
    rows: list[dict[str, Any]] = []
    for group in chosen:
        found = measure(group, 5 if options.quick else options.rounds or (20 if group.net in SLOW else 60))
        table(found, ("net", "batch", "density", "gradient_keep", "allocation", "threads", "isa", "peer", "peer_ms",
                      "ours_ms", "ratio_median", "ratio_iqr", "ratio_cpu_median", "side_by_side",
                      "others_share"))  # fmt: skip
        rows += found
    write("step", rows, options.json, ("torch",), KEY)


if __name__ == "__main__":
    main()
