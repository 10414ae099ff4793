"""What a calibration may take: half of the RAM, and minutes; chosen before it begins, by the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...compiler import Optimizer, compile_plan
from ...graph import Graph
from ..cost import CostModel
from ..figures import Profile
from ..workload import operations

SECONDS = 200.0  # of timed steps at most: five minutes, less what the probe, disk and fits take
WARM_UP, ROUNDS, LEAST = 2, 3, 0.06  # steps before timing, steps timed at least, seconds timed at least
OWN_BYTES = 30_000_000  # of the process beside an engine: samples, timings, the fit


@dataclass(frozen=True)
class Case:
    """One configuration to time: network, rows, density, threads."""

    network: str
    batch: int
    density: float
    threads: int


def cases(threads: int) -> list[tuple[int, float, int]]:
    """(batch, density, threads) of every network, what matters most for the fit first."""
    found = [(32, 0.1, 1), (32, 0.1, threads), (32, 1.0, 1), (8, 0.1, 1), (8, 1.0, threads), (32, 0.25, threads),
             (32, 0.05, threads), (8, 0.1, threads), (16, 0.15, 1), (16, 0.5, threads)]  # fmt: skip
    return list(dict.fromkeys(found))


def engine_bytes(graph: Graph, case: Case) -> int:
    """What the engine of a case holds, by its plan."""
    densities = dict.fromkeys(graph.prunable(), case.density)
    plan = compile_plan(graph, batch=case.batch, densities=densities, optimizer=Optimizer(momentum=0.9), threads=1)
    return sum(plan.memory.values())


def seconds_of(graph: Graph, case: Case, profile: Profile) -> float:
    """What timing a case once takes, by the model."""
    densities = dict.fromkeys(graph.prunable(), case.density)
    step = CostModel(profile, case.threads).step(operations(graph, case.batch, "train", densities)).seconds
    return WARM_UP * step + max(ROUNDS * step, LEAST)


def chosen(
    graphs: dict[str, Graph], threads: int, profile: Profile, ram: int, seconds: float = SECONDS
) -> tuple[list[Case], int, list[str]]:
    """(cases to time, passes over them, what was left out in words) within ``ram`` bytes and ``seconds``.

    Every network keeps its first two cases where RAM has room for them, since each has classes of layers of its own;
    then cases are added in order while there is time, and a second pass when it fits whole.
    """
    left, said = seconds, []
    fitting: list[list[Case]] = []
    for batch, density, used in cases(threads):
        row = []
        for name, graph in graphs.items():
            case = Case(name, batch, density, used)
            while case.batch > 4 and engine_bytes(graph, case) + OWN_BYTES > ram:
                case = Case(name, case.batch // 2, density, used)
            if engine_bytes(graph, case) + OWN_BYTES <= ram:
                row.append(case)
            else:
                said.append(f"{name} at density {density:g}: more than half of the RAM")
        fitting.append(row)
    found: list[Case] = []
    for i, row in enumerate(fitting):
        for case in row:
            took = seconds_of(graphs[case.network], case, profile)
            if i < 2 or took <= left:
                found.append(case)
                left -= took
            else:
                said.append(f"{case.network}, {case.batch} rows at density {case.density:g}: no time")
    found = list(dict.fromkeys(found))
    whole = sum(seconds_of(graphs[c.network], c, profile) for c in found)
    return found, 2 if whole <= left else 1, said


def predicted(found: Sequence[Case], passes: int, graphs: dict[str, Graph], profile: Profile) -> float:
    """Seconds that timing takes, by the model."""
    return passes * sum(seconds_of(graphs[c.network], c, profile) for c in found)
