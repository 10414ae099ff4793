"""Carousel on against off at equal RAM, and against the same method with 5000 slots in RAM.

Every arm trains with the same options, at the same sparsity; only slots, store and gate differ. Without a
store the better of the memory policies `balanced` and `reservoir` counts, for each stream, method and size;
with one the memory is `balanced`. The pattern is static: a moving one adds its own noise to every arm.
Options were chosen on a validation split, with other seeds; see docs/carousel.md on what was tried.

Time is measured apart: the on and the off run of one seed take turns of 25 steps in one process.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from common import arguments, ceilings, host, host_line, median, quantile, table, versions, write

from edgecl.planning.run_plan import prepare
from edgecl.run import Run, run

STREAMS: dict[str, dict[str, Any]] = {
    "split-mnist5k": {"epochs": 10},
    "split-fashion": {"epochs": 5, "limit_train": 20000},
}
COMMON: dict[str, Any] = {
    "batch": 16,
    "lr": 0.1,
    "lr_schedule": "cosine",
    "threads": 1,
}
METHOD: dict[str, dict[str, Any]] = {"er": {}, "der++": {"alpha": 0.1, "beta": 0.5}}
STORED = 5000  # samples in the store, and slots of the upper reference
TURN = 25  # steps
# Two-sided 95 % points of Student's t by degrees of freedom
T95 = (math.nan, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)

NOTES = (
    "How the options were chosen: on the last fifth of every class's training samples, seeds 100 to 102. With a",
    "constant learning rate the accuracy at the end of a run moves by several points from step to step (single runs",
    "by 15): `cnn` on split-mnist5k gained +3.8 (+0.7 .. +6.9) at 90 % in an earlier table, and five test seeds at",
    "75 % had been looked at. Falling to 0 over each task it varies by half a point between seeds. On validation,",
    "200 slots: off 88.5, on 93.6, RAM 93.3 at 75 %; 86.8, 91.8, 91.9 at 90 %; the more accurate one was taken.",
    "Tried before, at a constant rate, and not used: lr 0.03, 0.05; batch 32; replay batch 32, 48, 64; 20 epochs;",
    "replay weight 3; group norm; resnet20; moving patterns; Adam; gate `hybrid_balanced_p` at 0.5, which gains",
    "less than `all` here.",
    "",
    "Sixteen exchanges a step cost the training thread 10 to 15 microseconds beside a core for the mover: under 2 %",
    "of the sparse `cnn`'s step, 3 to 5 % of the `mlp`'s of 0.3 ms, where 2 % would be 6 microseconds. With one",
    "core the training thread reads from the file cache itself.",
)

Case = tuple[str, str, float, str]  # stream, model, sparsity, method
Key = tuple[str, str, float, str, int, str, int]
NAMES = ("stream", "model", "sparsity", "method", "slots", "arm", "seed")


def arms(cases: Sequence[Case], slots: Sequence[int], seeds: int) -> Iterator[Key]:
    """Every run; a table cut short has all arms of its seeds, the largest memory first."""
    for case in cases:
        for n in sorted(slots, reverse=True):
            for seed in range(seeds):
                yield (*case, n, "off", seed)
                yield (*case, n, "on", seed)
                if n == max(slots):
                    yield (*case, STORED, "ram", seed)
    for case in cases:
        for n in slots:
            for seed in range(seeds):
                yield (*case, n, "off_reservoir", seed)


def options(key: Key, gate: str, store: str | None) -> dict[str, Any]:
    stream, model, sparsity, method, slots, arm, seed = key
    chosen = {
        **COMMON,
        **STREAMS[stream],
        **METHOD[method],
        "stream": stream,
        "network": model,
        "sparsity": sparsity,
        "sparsity_policy": "static" if sparsity else "none",
        "method": method,
        "memory": slots,
        "memory_policy": "reservoir" if arm == "off_reservoir" else "balanced",
        "seed": seed,
    }
    if store is not None:
        chosen |= {"store": store, "store_limit": f"{STORED} samples", "gate": gate}
    return chosen


def one(key: Key, gate: str, quick: bool) -> dict[str, Any]:
    """The figures of one run."""
    with tempfile.TemporaryDirectory() as folder:
        chosen = options(key, gate, f"{folder}/store" if key[5] == "on" else None)
        if quick:
            chosen |= {"epochs": 1, "limit_train": 2000}
        record = run(chosen)
    metrics, carousel = record["metrics"], record["carousel"]
    return {
        "accuracy": metrics["average_accuracy"],
        "forgetting": metrics["forgetting"],
        "train_seconds": record["seconds"]["train"],
        "steps": record["steps"],
        "swaps_done": carousel["swaps_done"],
        "swaps_dropped": carousel["swaps_dropped"],
        "stall_seconds": carousel["stall_seconds"],
        "bytes_read": carousel["bytes_read"],
    }


def summary(values: Sequence[float]) -> tuple[float, float, float, float]:
    """(mean, standard deviation, low and high end of the 95 % t-interval of the mean)."""
    if len(values) < 2:
        return values[0], math.nan, math.nan, math.nan
    m, s = mean(values), stdev(values)
    half = T95[min(len(values) - 1, len(T95) - 1)] * s / math.sqrt(len(values))
    return m, s, m - half, m + half


def rows_of(done: dict[Key, dict[str, Any]]) -> list[dict[str, Any]]:
    """A row per case and size, over the seeds that on, off and RAM all have, two at least. In percent."""

    def seeds_of(*case: Any) -> set[int]:
        return {k[6] for k in done if k[:6] == case}

    rows = []
    for case in sorted({k[:5] for k in done}, key=lambda c: (c[1], -c[2], c[3] != "er", c[0], c[4])):
        seeds = seeds_of(*case, "on") & seeds_of(*case, "off") & seeds_of(*case[:4], STORED, "ram")
        if len(seeds) > 1:
            rows.append(row(done, case[:4], case[4], sorted(seeds), seeds <= seeds_of(*case, "off_reservoir")))
    return rows


def row(done: dict[Key, dict[str, Any]], case: Case, n: int, seeds: Sequence[int], both: bool) -> dict[str, Any]:
    """``both``: off is the better of the two memory policies, else the balanced one."""

    def values(arm: str, name: str, size: int = n) -> list[float]:
        return [done[(*case, size, arm, s)][name] for s in seeds]

    def percent(arm: str, size: int = n) -> list[float]:
        return [100 * v for v in values(arm, "accuracy", size)]

    on, ram = percent("on"), percent("ram", STORED)
    off_arm = max(("off", "off_reservoir") if both else ("off",), key=lambda arm: mean(percent(arm)))
    off = percent(off_arm)
    gain = summary([a - b for a, b in zip(on, off)])
    gap = summary([a - b for a, b in zip(on, ram)])
    return {
        **dict(zip(NAMES, case)),
        "slots": n,
        "n": len(seeds),
        "off_policy": "balanced" if off_arm == "off" else "reservoir",
        "off": mean(off),
        "off_std": summary(off)[1],
        "off_reservoir": mean(percent("off_reservoir")) if both else None,
        "on": mean(on),
        "on_std": summary(on)[1],
        "ram5000": mean(ram),
        "ram5000_std": summary(ram)[1],
        "gain": gain[0],
        "gain_low": gain[2],
        "gain_high": gain[3],
        "to_ram5000": gap[0],
        "to_ram5000_low": gap[2],
        "to_ram5000_high": gap[3],
        "swaps": mean(values("on", "swaps_done")),
        "stall_seconds": mean(values("on", "stall_seconds")),
    }


def cores() -> int:
    """Processors this process may run on: taskset leaves fewer."""
    return len(os.sched_getaffinity(0))


def timing(case: Case, slots: int, gate: str, seed: int, quick: bool) -> dict[str, Any]:
    """Seconds of a whole run's steps on over off, in turns of `TURN` steps, the first one changing.

    Steps of the first task exchange nothing and are left out. `cpu`: of the training thread alone.
    """
    wall: dict[str, list[float]] = {"on": [], "off": []}
    cpu: dict[str, list[float]] = {"on": [], "off": []}
    with tempfile.TemporaryDirectory() as folder:
        jobs = {}
        for arm in ("on", "off"):
            chosen = options((*case, slots, arm, seed), gate, f"{folder}/store" if arm == "on" else None)
            if quick:
                chosen |= {"epochs": 1, "limit_train": 2000}
            jobs[arm] = Run(prepare(chosen), "bench")
        with jobs["on"], jobs["off"]:
            jobs["on"].stored.begin()
            for task in range(len(jobs["on"].prepared.stream.tasks)):
                loops = {arm: job.begin_task() for arm, job in jobs.items()}
                turn = 0
                while not loops["on"].finished:
                    for arm in ("on", "off")[:: 1 if turn % 2 else -1]:
                        w, c = time.perf_counter(), time.thread_time()
                        steps = sum(loops[arm].advance() is not None for _ in range(TURN))
                        if task and steps == TURN:
                            wall[arm].append(time.perf_counter() - w)
                            cpu[arm].append(time.thread_time() - c)
                    turn += 1
                for job in jobs.values():
                    job.end_task()
            counters = jobs["on"].core.parts.carousel.counters
    ratios = [a / b for a, b in zip(wall["on"], wall["off"])]
    return {
        **dict(zip(NAMES, case)),
        "slots": slots,
        "gate": gate,
        "cores": cores(),
        "turns": len(ratios),
        "off_step_ms": median(wall["off"]) / TURN * 1e3,
        "seconds_ratio_median": median(ratios),
        "seconds_ratio_iqr": quantile(ratios, 0.75) - quantile(ratios, 0.25),
        "cpu_ratio_median": median([a / b for a, b in zip(cpu["on"], cpu["off"])]),
        "swaps": counters["swaps_done"],
        "stall_seconds": counters["stall_seconds"],
    }


def markdown(rows: Sequence[dict[str, Any]], times: Sequence[dict[str, Any]], path: str, gate: str) -> None:
    """The tables for the documentation."""
    most = max(r["n"] for r in rows)
    lines = [
        "# What the carousel brings",
        "",
        "Average accuracy in percent after the last task, mean and standard deviation over n seeds,",
        f"{most} at most; gain: on less off, with the 95 % t-interval of the paired difference. Off is a",
        "class-balanced memory of the same slots, or a reservoir where its runs are complete (`off_reservoir` in",
        f"the JSON) and better; on adds a store of {STORED} samples, gate `{gate}`. The last reference keeps",
        f"{STORED} slots in RAM. Patterns are",
        f"static, batch {COMMON['batch']}, the learning rate falls to 0 over each task.",
        "Made by `python bench/carousel.py`; every run is in `bench/results/carousel.json`.",
        "",
        "| stream | net | sparsity | method | slots | n | off | on | gain | 5000 in RAM | on less RAM |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        cells = [
            r["stream"],
            r["model"],
            f"{r['sparsity']:.0%}",
            r["method"],
            str(r["slots"]),
            str(r["n"]),
            f"{r['off']:.1f} ± {r['off_std']:.1f}",
            f"{r['on']:.1f} ± {r['on_std']:.1f}",
            f"{r['gain']:+.1f} ({r['gain_low']:+.1f} .. {r['gain_high']:+.1f})",
            f"{r['ram5000']:.1f} ± {r['ram5000_std']:.1f}",
            f"{r['to_ram5000']:+.1f} ({r['to_ram5000_low']:+.1f} .. {r['to_ram5000_high']:+.1f})",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        f"Time of a training step on over off, one kernel thread, in turns of {TURN} steps in one process;",
        "CPU is that of the training thread.",
        "",
        "| stream | net | sparsity | method | slots | cores | off, ms | on / off | IQR | CPU on / off | stall, s |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for t in times:
        cells = [
            t["stream"],
            t["model"],
            f"{t['sparsity']:.0%}",
            t["method"],
            str(t["slots"]),
            str(t["cores"]),
            f"{t['off_step_ms']:.2f}",
        ]
        cells += [f"{t[k]:.3f}" for k in ("seconds_ratio_median", "seconds_ratio_iqr", "cpu_ratio_median")]
        lines.append("| " + " | ".join([*cells, f"{t['stall_seconds']:.3f}"]) + " |")
    lines += ["", *dict.fromkeys(host_line(t) for t in times), "", *NOTES]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    page = Path(path).read_text(encoding="utf-8") if Path(path).exists() else ""
    _, mark, others = page.partition("\n## ")  # sections that other benches wrote
    Path(path).write_text("\n".join(lines) + "\n" + mark + others, encoding="utf-8")


def load(path: str | None) -> dict[Key, dict[str, Any]]:
    """Runs already done: one JSON object a line, or the ``runs`` of an earlier result."""
    done: dict[Key, dict[str, Any]] = {}
    for figures in lines_of(path, "runs"):
        stream, model, sparsity, method, slots, arm, seed = (figures.pop(name) for name in NAMES)
        done[stream, model, sparsity, method, slots, arm, seed] = figures
    return done


def lines_of(path: str | None, part: str) -> list[dict[str, Any]]:
    if path is None or not Path(path).exists():
        return []
    text = Path(path).read_text()
    if path.endswith(".json"):
        record = json.loads(text)
        about = {k: record[k] for k in ("host", "ceilings", "versions", "date") if part == "timing" and k in record}
        return [row if "host" in row else {**about, **row} for row in record[part]]
    return [json.loads(line) for line in text.splitlines()]


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--streams", nargs="+", default=list(STREAMS), choices=list(STREAMS))
    parser.add_argument("--methods", nargs="+", default=list(METHOD), choices=list(METHOD))
    parser.add_argument("--slots", nargs="+", type=int, default=[50, 200])
    parser.add_argument("--nets", nargs="+", default=["cnn", "mlp"], choices=["cnn", "mlp"])
    parser.add_argument("--sparsities", nargs="+", type=float, default=[0.75])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--gate", default="all")
    parser.add_argument("--runs", metavar="FILE", help="keep finished runs here and go on from them")
    parser.add_argument("--times", metavar="FILE", help="keep finished timings here and go on from them")
    parser.add_argument("--no-more", action="store_true", help="start no run: tables of the finished ones")
    parser.add_argument("--markdown", metavar="FILE", help="write the table for the documentation")
    o = parser.parse_args()
    if o.quick:
        o.streams, o.methods, o.slots, o.seeds = ["split-mnist5k"], ["er"], [200], 2
        o.nets, o.sparsities = ["cnn"], [0.75]
    done = load(o.runs)
    cases = [(s, n, z, m) for n in o.nets for z in o.sparsities for m in o.methods for s in o.streams]
    for key in arms(cases, o.slots, o.seeds):
        if key in done or o.no_more:
            continue
        done[key] = one(key, o.gate, o.quick)
        print(*key, f"{done[key]['accuracy']:.3f} {done[key]['train_seconds']:.1f} s", flush=True)
        if o.runs:
            with open(o.runs, "a", encoding="utf-8") as file:
                file.write(json.dumps({**dict(zip(NAMES, key)), **done[key]}) + "\n")
    rows = rows_of(done)
    table(rows)
    times = lines_of(o.times, "timing")
    for case in cases:
        if case in [tuple(t[name] for name in NAMES[:4]) for t in times if t["cores"] == cores()]:
            continue
        on = {"host": host(), "ceilings": ceilings(), "versions": versions(), "date": time.strftime("%Y-%m-%d")}
        times.append({**timing(case, max(o.slots), o.gate, o.seeds, o.quick), **on})
        table(times[-1:])
        if o.times:
            with open(o.times, "a", encoding="utf-8") as file:
                file.write(json.dumps(times[-1]) + "\n")
    runs = [{**dict(zip(NAMES, key)), **figures} for key, figures in done.items()]
    used = {**COMMON, "gate": o.gate, "streams": STREAMS, "methods": METHOD}
    write("carousel", rows, o.json, timing=times, options=used, runs=runs)
    if o.markdown:
        markdown(rows, times, o.markdown, o.gate)


if __name__ == "__main__":
    main()
