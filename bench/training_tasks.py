"""Results of edgecl in its open training benchmark: the four tasks, dense with a memory in RAM and 90 % sparse with the
carousel, three seeds each, by `edgecl bench training`; and the section of docs/training_benchmark.md made of them.

    python bench/training_tasks.py [--tasks keyword,inertial] [--systems carousel90]   # runs what is not there yet
    python bench/training_tasks.py --page                                              # only the page

Options were fixed before any of these runs, on the last fifth of every class's training samples of the inertial task
with seed 100; the other tasks took them over.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from edgecl.bench.measure import ceilings_line

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results" / "training"
PAGE = ROOT / "docs" / "training_benchmark.md"
HEADING = "## Results of edgecl"
TASKS = ["inertial", "keyword", "image", "glyph"]
COMMON = {"method": "er", "lr_schedule": "cosine", "memory_policy": "balanced"}
# name of a system -> its title and options
SYSTEMS: dict[str, tuple[str, dict[str, Any]]] = {
    "carousel90": (
        "90 % sparse, carousel",
        {**COMMON, "sparsity": 0.9, "sparsity_policy": "static", "gate": "all"},
    ),
    "dense": ("dense, memory in RAM", COMMON),
}


def path_of(task: str, system: str) -> Path:
    return RESULTS / f"{task}_{system}.json"


def measure(task: str, system: str, seeds: int) -> None:
    """`edgecl bench training` in a process of its own, from the repository's root."""
    options = SYSTEMS[system][1]
    given = [word for name, value in options.items() for word in ("--set", f"{name}={value}")]
    out = path_of(task, system).relative_to(ROOT)
    store = ["--store", "out/training"] if "gate" in options else []
    words = ["bench", "training", "--task", task, "--seeds", str(seeds), *given, *store, "--out", str(out)]
    print(f"$ edgecl {shlex.join(words)}", flush=True)
    subprocess.run([sys.executable, "-P", "-m", "edgecl", *words], cwd=ROOT, check=True)


def machine(system: dict[str, Any]) -> str:
    """The ceilings of the machine that made a result."""
    if not system.get("ceilings"):
        return "Ceilings of that machine: not measured."
    return f"{ceilings_line(system['ceilings'])}.".capitalize()


def section() -> str:
    """Tables of the committed results."""
    found = {(t, s): json.loads(path_of(t, s).read_text()) for t in TASKS for s in SYSTEMS if path_of(t, s).exists()}
    first = next(iter(found.values()))
    system = first["system"]
    lines = [
        HEADING,
        "",
        "Closed division, experience replay with a class-balanced memory, learning rate 0.1 falling to 0 over each",
        "task. Medians over the seeds, in brackets the lowest and highest. *90 % sparse, carousel* stores every sample",
        "on flash and exchanges all replayed samples with it; *dense* has the memory in RAM alone. Options were chosen",
        "on a validation split of the inertial task. Made by `python bench/training_tasks.py`; the files lie in",
        "`bench/results/training`, each checked by `edgecl bench training --check`.",
        "",
        f"{system['machine']} with {system['instruction_set']}, {system['processors']} processors, one kernel thread;",
        "no energy sensor, so no joules. Other work shared the machine all the while: seconds are upper bounds, and",
        "those of two rows do not compare.",
        *({machine(r["system"]) for r in found.values()}),
        "",
        "| task | system | average accuracy | forgetting | training, s | ms a sample | RAM, MB | to flash, MB | n |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (task, name), result in found.items():
        runs, middle = [r["figures"] for r in result["runs"]], result["summary"]
        accuracy = [r["average_accuracy"] for r in runs]
        cells = [
            f"`{task}`",
            SYSTEMS[name][0],
            f"{middle['average_accuracy']:.3f} ({min(accuracy):.3f} .. {max(accuracy):.3f})",
            f"{middle['forgetting']:.3f}",
            f"{middle['train_seconds']:.1f}",
            f"{middle['seconds_per_sample'] * 1e3:.2f}",
            f"{middle['peak_rss_bytes'] / 1e6:.1f}",
            f"{middle['flash_bytes_written'] / 1e6:.1f}",
            f"{len(runs)}{' (trial)' if result['trial'] else ''}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def write_page() -> None:
    text = PAGE.read_text()
    begin = text.find(HEADING)
    end = text.find("\n## ", begin + 1) if begin >= 0 else -1
    rest = "" if end < 0 else text[end + 1 :]
    head = (text if begin < 0 else text[:begin]).rstrip("\n")
    PAGE.write_text(f"{head}\n\n{section()}" + (f"\n{rest}" if rest else ""))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--systems", default=",".join(SYSTEMS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--page", action="store_true", help="run nothing, write the page's section")
    options = parser.parse_args()
    if not options.page:
        RESULTS.mkdir(parents=True, exist_ok=True)
        for task in options.tasks.split(","):
            for system in options.systems.split(","):
                if not path_of(task, system).exists():
                    measure(task, system, options.seeds)
    write_page()


if __name__ == "__main__":
    main()
