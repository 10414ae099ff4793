"""Four learning tasks on every device: seconds, joules, the largest model, years of flash. All modelled, with bands.

A step trains on a batch of new images and two draws of replay of the same size (DER++): dense eager PyTorch against our
engine at 90 % sparsity, each with the number of threads that is fastest for it. An image's cost is a step's by the
batch, on a cool device; a task's time is its images times its passes, with the slowing of a device that warms
(`cost.warmed`). Memory of PyTorch follows six runs measured on x86-64 (within 7 %).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from ..compiler import Optimizer, compile_plan
from ..graph import Graph
from ..graph.builders import build, builders
from .cost import CostModel, StepCost, warmed
from .figures import Profile
from .frameworks import EAGER_TORCH, LATER_TORCH, NCNN, Family
from .load import load_profile
from .workload import FORWARD, operations

BATCH = 32
DRAWS = 2
DENSITY = 0.1
RECORD_OVERHEAD = 64  # bytes of a stored sample besides payload and logits
RAM_SHARE = 0.8  # of what Linux sees, for the process
# resident bytes of eager PyTorch: fixed, per parameter byte, per byte of maps written forward
TORCH_MEMORY = (313e6, 3.6, 1.0)
WIDTHS = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)  # of resnet18's first stage


INTRODUCTION = """**Nothing here was measured on these devices:** every figure is modelled from the device's
profile (`edgecl devices show NAME` lists each figure's source).

A step trains on 32 new samples and two replay draws of 32 (DER++). Each engine uses the number of threads that is
fastest for it. Joules count the whole device, idle power included. An image's time is a cool device's; a task's starts
cool and slows as the device warms (`thermal.sustained` and `time_constant_s` of the profile, assumed for most); flash
that is written without a pause is written at the sustained speed.

*Dense* is eager PyTorch. Its cost family predicts published training times (PyTorch 1.13, 224 x 224) on Pi 4 and Pi 5
(`bench/cost_model.py`); here without what later releases no longer do, the unfolding of a whole batch. These networks
are small and so are their maps: its times here are an extrapolation and **may be several times too long**. On a
two-core x86 machine with PyTorch 2.13 the same family says 1.1 (cnn1d) to 3.0 times (resnet20, batch 32) what was
measured (`elsewhere` in `bench/results/cost_model.json`), and 13 times with depthwise convolutions (mobilenetv2), which
PyTorch 1.13 ran channel by channel: that concerns the keyword task. So the ratios are upper bounds, not claims.

*90 %* is edgecl at density 0.1, gradients for all living weights. Its kernel rates were measured on x86-64 and carried
over through a simulator of each core (`bench/neon_cycles.py`, within a factor of 2): hence the wide band. No step, and
no end of a band, is faster than its maps and weights, each moved once a pass, over the board's bandwidth; threads gain
what they gain in a large matrix product on the board, on both sides of the ratio. What this changed:
[old against new](device_changes.md)."""


@dataclass(frozen=True)
class Task:
    """samples : of one task of the stream;  sample_bytes : as stored"""

    name: str
    stream: str
    network: str
    shape: tuple[int, int, int]
    classes: int
    samples: int
    passes: int
    sample_bytes: int

    @property
    def graph(self) -> Graph:
        return _graph(self.network, self.shape, self.classes)


@cache
def _graph(network: str, shape: tuple[int, int, int], classes: int, width: int = 0) -> Graph:
    return build(network, shape, classes, width=width) if width else build(network, shape, classes)


def tasks() -> tuple[Task, ...]:
    """The four tasks; the keyword task uses ds_cnn where that builder exists."""
    keyword = ("ds_cnn", (1, 49, 10)) if "ds_cnn" in builders() else ("cnn1d", (10, 1, 49))
    return (
        Task("image", "split-fashion", "resnet20", (1, 28, 28), 10, 12_000, 1, 784),
        Task("inertial", "hapt-activities", "cnn1d", (6, 1, 128), 6, 2_699, 5, 3072),
        Task("keyword", "keywords", keyword[0], keyword[1], 30, 576, 10, 1960),
        Task("glyphs", "noto-glyphs", "resnet20", (1, 32, 32), 1297, 824, 10, 1024),
    )


def rows(devices: Sequence[str]) -> list[dict[str, Any]]:
    """One row per device and task."""
    found = []
    for name in devices:
        profile = load_profile(name)
        largest = {"torch": largest_model(profile, True), "edgecl": largest_model(profile, False)}
        for task in tasks():
            dense, dense_threads = fastest(profile, task, LATER_TORCH)
            ours, our_threads = fastest(profile, task, None)
            row: dict[str, Any] = {
                "device": name, "task": task.name, "stream": task.stream, "network": task.network,
                "samples_per_task": task.samples, "passes": task.passes, "source": ours.label,
            }  # fmt: skip
            for key, cost, threads in (("torch", dense, dense_threads), ("edgecl", ours, our_threads)):
                images = task.samples * task.passes
                per_image = cost.seconds / BATCH
                joules = None if cost.joules is None else cost.joules / BATCH
                row |= {
                    f"{key}_threads": threads,
                    f"{key}_seconds_per_image": per_image,
                    f"{key}_joules_per_image": joules,
                    f"{key}_seconds_per_task": warmed(profile, per_image * images),
                    f"{key}_joules_per_task": None if joules is None else joules * images,
                    f"{key}_band": list(cost.band),
                    f"{key}_joules_band": list(cost.joules_band),
                    f"{key}_largest_model_weights": largest[key],
                }
            sustained = profile.figure("thermal", "sustained")
            hot = ours.seconds / (1.0 if sustained is None else sustained.value)
            row["flash_years"] = flash_years(profile, task, hot / BATCH * task.passes)
            found.append(row)
    return found


def fastest(profile: Profile, task: Task, family: Family | None) -> tuple[StepCost, int]:
    """A training step of ``task`` with the best number of threads."""
    graph = task.graph
    densities = {} if family else dict.fromkeys(graph.prunable(), DENSITY)
    work = operations(graph, BATCH * (1 + DRAWS), "train", densities)
    found = [(CostModel(profile, t, family).step(work), t) for t in range(1, profile.cores + 1)]
    return min(found, key=lambda pair: pair[0].seconds)


def flash_years(profile: Profile, task: Task, seconds_per_sample: float) -> float | None:
    """Years until the flash is worn when the device learns without a pause and stores every new sample with its
    logits (float16); None where the profile knows no endurance."""
    if profile.flash_endurance is None:
        return None
    capacity, cycles, amplification = profile.flash_endurance
    per_second = (task.sample_bytes + 2 * task.classes + RECORD_OVERHEAD) / seconds_per_sample
    return capacity * cycles / (per_second * amplification * 86400 * 365)


def largest_model(profile: Profile, torch: bool) -> int:
    """Dense weights of the widest resnet18 (32 x 32, 100 classes) whose training fits, 0 when none does.

    edgecl counts all positions of its sparse tensors, of which a tenth lives."""
    limit = RAM_SHARE * profile.memory_bytes
    fits = [w for w in WIDTHS if _training_bytes(w, torch, profile.baseline_rss_bytes) <= limit]
    if not fits:
        return 0
    graph = _graph("resnet18", (3, 32, 32), 100, fits[-1])
    return sum(p.size for p in graph.parameters.values() if p.role == "weight")


@cache
def _training_bytes(width: int, torch: bool, baseline: int) -> float:
    graph = _graph("resnet18", (3, 32, 32), 100, width)
    batch = BATCH * (1 + DRAWS)
    if torch:
        fixed, per_parameter, per_map = TORCH_MEMORY
        parameters = 4 * sum(p.size for p in graph.parameters.values())
        maps = sum(o.written for o in operations(graph, batch) if o.phase == FORWARD)
        return fixed + per_parameter * parameters + per_map * maps
    densities = dict.fromkeys(graph.prunable(), DENSITY)
    plan = compile_plan(
        graph, batch=batch, predict_batch=BATCH, densities=densities, optimizer=Optimizer(momentum=0.9), lanes=4
    )
    return baseline + plan.bytes


def markdown(found: Sequence[dict[str, Any]], command: str) -> str:
    """The table of docs/devices.md."""
    lines = [
        "# Four learning tasks on every device",
        "",
        f"Made by `{command}`; raw figures beside it in `devices.json`.",
        *INTRODUCTION.splitlines(),
        "",
        *_errors(),
    ]
    for task in tasks():
        mine = [r for r in found if r["task"] == task.name]
        lines += [
            f"## {task.name}: {task.stream}, {task.network}, {task.classes} classes, {task.samples} samples a task, "
            f"passes: {task.passes}",
            "",
            "| device | ms/image dense (band) | ms/image 90 % (band) | ratio | mJ/image dense | mJ/image 90 % (band) "
            "| task dense | task 90 % | task 90 %, J | years of flash, learning without a pause |",
            "|---|---|---|---|---|---|---|---|---|---|",
        ]
        lines += [_line(r) for r in mine]
        lines.append("")
    lines += [
        "## Largest model that trains in RAM",
        "",
        f"The widest resnet18 on 32x32 whose training fits in {RAM_SHARE:.0%} of the RAM that Linux sees (phones leave "
        "an application less), in millions of dense weights; 96 rows in a step.",
        "",
        "| device | dense PyTorch | edgecl at 90 % |",
        "|---|---|---|",
    ]
    for r in (r for r in found if r["task"] == "image"):
        lines.append(
            f"| {r['device']} | {_millions(r['torch_largest_model_weights'])} "
            f"| {_millions(r['edgecl_largest_model_weights'])} |"
        )
    return "\n".join(lines) + "\n"


def _errors() -> list[str]:
    """What the families' predictions of published times came to."""
    lines = [
        "## How far the predictions are off", "",
        "Of published times, by `bench/cost_model.py`: constants fitted over all rows, over all rows but those of the "
        "network that is predicted, and over all but those of its board. Of our engine on these boards nobody has "
        "published a time.", "",
        "| family | rows | fitted: median error | worst factor | network left out | worst factor "
        "| board left out | worst factor |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for family in (EAGER_TORCH, NCNN):
        found = [family.errors[kind] for kind in ("fitted", "left_out", "board_left_out")]
        figures = " | ".join(f"{median:.0%} | {worst:.2f}x" for _, median, worst in found)
        lines.append(f"| {family.name} | {found[0][0]} | {figures} |")
    return [*lines, ""]


def _line(r: dict[str, Any]) -> str:
    def spread(key: str, scale: float, band: str) -> str:
        value = r[key]
        if value is None:
            return "unknown"
        low, high = r[band]
        return f"{value * scale:.3g} ({value * low * scale:.2g}-{value * high * scale:.2g})"

    dense_joules = r["torch_joules_per_image"]
    cells = [
        r["device"],
        spread("torch_seconds_per_image", 1e3, "torch_band"),
        spread("edgecl_seconds_per_image", 1e3, "edgecl_band"),
        f"{r['torch_seconds_per_image'] / r['edgecl_seconds_per_image']:.1f}x",
        "unknown" if dense_joules is None else f"{dense_joules * 1e3:.3g}",
        spread("edgecl_joules_per_image", 1e3, "edgecl_joules_band"),
        _duration(r["torch_seconds_per_task"]),
        _duration(r["edgecl_seconds_per_task"]),
        "unknown" if r["edgecl_joules_per_task"] is None else f"{r['edgecl_joules_per_task']:.3g}",
        "unknown" if r["flash_years"] is None else f"{r['flash_years']:.2g}",
    ]
    return "| " + " | ".join(cells) + " |"


def _duration(seconds: float) -> str:
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 90 else f"{seconds:.2g} s"


def _millions(weights: int) -> str:
    if not weights:
        return "none"
    return f"{weights / 1e6:.{max(0, 1 - int(math.log10(weights / 1e6)))}f} M"
