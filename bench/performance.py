"""Writes docs/performance.md from the committed results of the benches: tables beside floors and goals.

`python bench/performance.py` reads bench/results/*.json; a bench without results is named as missing.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from common import arguments, host_line
from goal_reasons import HEAD, by_case, reasons, roofline_ms
from targets import (
    IMPORT_TARGETS,
    MEMORY_TARGETS,
    SCALING_TARGET,
    SPARSEPROP_TARGETS,
    STEP_TARGETS,
)

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
TARGET = ROOT / "docs" / "performance.md"
Row = dict[str, Any]


def load(name: str) -> dict[str, Any]:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {"rows": []}


def markdown(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    def line(cells: Sequence[Any]) -> str:
        return "| " + " | ".join(str(c) for c in cells) + " |"

    return "\n".join([line(head), line(["---"] * len(head)), *map(line, rows)])


def verdict(value: float, floor: float, goal: float, higher: bool = True) -> str:
    """How a figure stands to its floor and goal; floor 0: report only."""
    reached, met = (value >= goal, value >= floor) if higher else (value <= goal, value <= floor)
    return "goal" if reached else "floor" if met and floor else "below goal" if not floor else "**below floor**"


def percent(density: float) -> str:
    return "dense" if density == 1 else f"{100 * (1 - density):g} %"


def steps(results: dict[str, Any], layers: Sequence[Row]) -> str:
    rows = [r for r in results["rows"] if r["peer_kind"] == "torch"]
    one = {
        (r["net"], r["batch"], r["density"], r["gradient_keep"], r["allocation"], r["isa"]): r
        for r in rows
        if r["threads"] == 1
    }
    roof = {case: roofline_ms(rows) for case, rows in by_case(layers).items()}
    best = max((r["isa"] for r in rows if r["threads"] > 1), key=lambda i: i == "avx512", default="")
    table = []
    for r in sorted(rows, key=lambda r: (r["net"], -r["batch"], -r["gradient_keep"], r["allocation"], -r["density"])):
        forced = r["isa"] if r["isa"] != best else ""
        if r["threads"] == 1 and not forced:
            continue  # stands beside the two-thread row
        case = (r["net"], r["batch"], r["gradient_keep"], forced, r["threads"])
        target = STEP_TARGETS.get(case, {}).get(r["density"]) if r["allocation"] == "uniform" else None
        key = (r["net"], r["batch"], r["density"], r["gradient_keep"], r["allocation"], r["isa"])
        single = one.get(key)
        bound = roof.get((r["net"], r["batch"], r["density"]))
        limit = ""
        if single and bound and r["gradient_keep"] == 1 and r["allocation"] == "uniform" and not forced:
            limit = f"{single['peer_cpu_ms'] / bound:.1f}"
        notes = [f"{r['gradient_keep']:.0%} of gradients"] if r["gradient_keep"] < 1 else []
        notes += ["ERK masks"] if r["allocation"] == "erk" else []
        notes += [f"{forced} only"] if forced else []
        table.append(
            [
                f"{r['net']} b{r['batch']}",
                percent(r["density"]),
                ", ".join(notes),
                r["threads"],
                f"{r['ours_ms']:.1f}",
                f"{r['peer_ms']:.1f}",
                f"**{r['ratio_median']:.2f}x** ± {r['ratio_iqr'] / 2:.2f}",
                f"{single['ratio_cpu_median']:.2f}x" if single else "",
                f"{target[0]:g}x / {target[1]:g}x" if target else "",
                verdict(r["ratio_median"], *target) if target else "",
                limit,
            ]
        )
    head = ["network", "sparsity", "case", "threads", "ours ms", "torch ms", "ratio", "1 thread, CPU time",
            "floor / goal", "reached", "ratio at the roofline"]  # fmt: skip
    return markdown(head, table)


def scaling(results: dict[str, Any]) -> str:
    rows = [r for r in results["rows"] if r["peer_kind"] == "one_thread"]
    cells = [
        [f"{r['net']} b{r['batch']}", percent(r["density"]), f"{r['peer_ms']:.1f}", f"{r['ours_ms']:.1f}",
         f"**{r['ratio_median']:.2f}x** ± {r['ratio_iqr'] / 2:.2f}", f"{r['side_by_side']:.2f}x"]
        for r in sorted(rows, key=lambda r: (r["net"], -r["batch"], -r["density"]))
    ]  # fmt: skip
    return markdown(["network", "sparsity", "1 thread ms", "2 threads ms", "scaling", "two steps side by side"], cells)


def mask_updates(results: dict[str, Any]) -> str:
    cells = [
        [f"{r['net']} b{r['batch']}", percent(r["density"]), r["policy"], f"{r['update_ms']:.1f}",
         f"{r['step_ms']:.1f}", f"{100 * r['share_of_step']:.2f} %"]
        for r in results["rows"]
    ]  # fmt: skip
    return markdown(["network", "sparsity", "update", "update ms", "step ms", "of a step, every 100 steps"], cells)


def sparseprop(results: dict[str, Any]) -> str:
    cells = []
    for r in results["rows"]:
        target = SPARSEPROP_TARGETS.get(r["density"]) if (r["net"], r["threads"]) == ("resnet18", 2) else None
        cells.append(
            [f"{r['net']} b{r['batch']}", percent(r["density"]), r["peer"], f"{r['ours_ms']:.1f}",
             f"{r['peer_ms']:.1f}", f"**{r['ratio_median']:.2f}x** ± {r['ratio_iqr'] / 2:.2f}",
             f"{target[0]:g}x / {target[1]:g}x" if target else "",
             verdict(r["ratio_median"], *target) if target else ""]
        )  # fmt: skip
    head = ["network", "sparsity", "peer", "ours ms", "peer ms", "ratio", "floor / goal", "reached"]
    return markdown(head, cells)


def layer_tables(results: dict[str, Any]) -> str:
    """Per layer at 90 %, per map size at the other densities."""
    parts = []
    by_net: dict[tuple[str, int, float], list[Row]] = defaultdict(list)
    for r in results["rows"]:
        by_net[r["net"], r["batch"], r["density"]].append(r)
    for (net, batch, density), rows in sorted(by_net.items(), key=lambda i: (i[0][0], -i[0][2])):
        label: Callable[[Row], str] = (lambda r: r["layer"]) if density == 0.1 else (lambda r: r["map"] or "maps")
        total = sum(r["ms"] for r in rows)
        parts.append(f"<details><summary>{net} b{batch}, {percent(density)}: {total:.1f} ms</summary>\n")
        groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for r in rows:
            groups[label(r), r["pass"]].append(r)
        cells = []
        for (name, way), members in groups.items():
            ms = sum(r["ms"] for r in members)
            of_peak = sum(r["of_peak"] * r["ms"] for r in members) / ms if ms else 0.0
            roof = sum(r["of_roofline"] * r["ms"] for r in members) / ms if ms else 0.0
            heaviest = max(members, key=lambda r: r["ms"])
            peak = f"{100 * of_peak:.0f} %" if of_peak else ""
            cells.append([name, way, f"{ms:.2f}", f"{100 * ms / total:.1f} %", peak, f"{100 * min(roof, 1):.0f} %",
                          heaviest["limit"]])  # fmt: skip
        head = ["layer" if density == 0.1 else "map", "pass", "ms", "of the step", "of FMA peak", "of the roofline",
                "limit"]  # fmt: skip
        parts += [markdown(head, cells), "\n</details>\n"]
    return "\n".join(parts)


def memory(results: dict[str, Any]) -> str:
    cells = []
    for r in results["rows"]:
        if r.get("scope") == "import":
            megabytes, ms = IMPORT_TARGETS.get(r["net"], (None, None))
            mb = r["peak_rss_bytes"] / 1e6
            cells.append([r["net"], "", "", f"{mb:.0f}, {r['import_ms']:.0f} ms", "", "", "",
                          f"{megabytes[0]} / {megabytes[1]}, {ms[0]} / {ms[1]} ms" if megabytes else "",
                          verdict(mb, *megabytes, higher=False) if megabytes else ""])  # fmt: skip
            continue
        target = None
        if r["scope"] == "bare" and r["density"] == 0.1:
            target = MEMORY_TARGETS.get((r["net"], r["batch"]))
        mb = r["peak_rss_bytes"] / 1e6
        torch = r.get("torch_peak_rss_bytes")
        cells.append(
            [f"{r['net']} b{r['batch']}", percent(r["density"]), ", ".join(filter(None, [r["scope"], r.get("note")])),
             f"{mb:.0f}", f"{r['planned_bytes'] / 1e6:.0f}", f"{torch / 1e6:.0f}" if torch else "",
             f"{r['bytes_per_weight']:.1f}" if r.get("bytes_per_weight") else "",
             f"{target[0]} / {target[1]}" if target else "",
             verdict(mb, *target, higher=False) if target else ""]
        )  # fmt: skip
    head = ["program", "sparsity", "scope", "peak MB", "planned MB", "torch MB", "bytes a weight", "floor / goal",
            "reached"]  # fmt: skip
    return markdown(head, cells)


def saved_activations(results: dict[str, Any]) -> str:
    """Arena and time of a step, then accuracy of paired runs."""
    from saved_activations import FORMATS, summary

    timed = [r for r in results["rows"] if r["part"] == "time"]
    cells = [
        [f"{r['net']} b{r['batch']}", percent(r["density"]),
         " / ".join(f"{r[f'{a}_arena_bytes'] / 1e6:.1f}" for a in FORMATS),
         " / ".join(f"{r[f'{a}_ms']:.1f}" for a in FORMATS),
         f"**{r['ratio_median']:.2f}x** ± {r['ratio_iqr'] / 2:.2f}", f"{r['ratio_cpu_median']:.2f}x"]
        for r in timed
    ]  # fmt: skip
    head = ["network", "sparsity", "arena MB, float32 / bfloat16", "step ms", "time of a step", "CPU time"]
    runs = [
        [r["net"], r["seeds"], f"{r['float32']:.2%}", f"{r['bfloat16']:.2%}",
         f"**{100 * r['difference']:+.2f}** ± {100 * r['standard_error']:.2f}", f"{100 * r['spread_float32']:.2f}"]
        for r in summary([r for r in results["rows"] if r["part"] == "accuracy"])
    ]  # fmt: skip
    columns = ["network", "seeds", "float32", "bfloat16", "difference, points ± standard error", "spread of seeds"]
    accuracy = "Average accuracy (Class-IL) of runs on split-fashion with ER at 90 % sparsity, paired by seed:"
    return f"{markdown(head, cells)}\n\n{accuracy}\n\n{markdown(columns, runs)}"


def contention(results: dict[str, Any]) -> str:
    cells = [
        [f"{r['net']} b{r['batch']}", r["contender"], f"{r['alone_ms']:.1f}", f"{r['busy_ms']:.1f}",
         f"**{r['ratio']:.2f}x**"]
        for r in results["rows"]
    ]  # fmt: skip
    return markdown(["network", "engine", "alone ms", "with a neighbour ms", "slower by"], cells)


def plain(results: dict[str, Any]) -> str:
    """Every column of a bench that has no table of its own here."""
    rows = results["rows"]
    columns = [k for k in rows[0] if k not in ("command", "date")]

    def cell(value: Any) -> str:
        return f"{value:.3g}" if isinstance(value, float) else str(value)

    body = markdown(columns, [[cell(r.get(k, "")) for k in columns] for r in rows])
    return body if len(rows) <= 24 else f"<details><summary>{len(rows)} rows</summary>\n\n{body}\n\n</details>"


def beside(one: str, other: str) -> list[Row]:
    """Rows of ``other`` that were measured on the machine of ``one``: figures of two machines are never combined."""
    first, second = load(one), load(other)
    return [r for r in second["rows"] if r.get("host", second.get("host")) == first.get("host")]


def section(title: str, name: str, text: str, body: Callable[[dict[str, Any]], str]) -> str:
    results = load(name)
    if not results["rows"]:
        return f"## {title}\n\nNot measured yet (`bench/results/{name}.json` is absent).\n"
    isa = f" Kernels: {results['isa']}." if "isa" in results else ""
    return f"## {title}\n\n{text}\n\n{host_line(results)}{isa} Command: `{results['command']}`.\n\n{body(results)}\n"


def page() -> str:
    layers = beside("step", "layers")
    parts = [
        "# Performance\n",
        "Made by `python bench/performance.py` from the committed results in `bench/results`; every figure was "
        "measured. A step is forward, loss, backward, batch norm and SGD with momentum, float32. Ratios are medians "
        "over interleaved turns, with half of the interquartile range; above 1 we are faster. Masks are random, "
        "uniform unless marked. *Ratio at the roofline*: torch's one-thread time over that of a step with every "
        "operation at its own roofline (below): the bound of this algorithm on this machine.\n",
        section("Training step against dense torch", "step", "The better of torch's default and channels_last layouts.",
                lambda r: steps(r, layers)),
        section("Where a goal is not reached", "step",
                "Of each operation the roofline is the slowest of compute, one L1 load per FMA, L2 and memory; a "
                "step's is their sum, on one thread. Beyond that a list costs its own loads (an offset and a value "
                "for 2-16 vectors), accumulators that come and go, and a mispredicted end: more per weight as lists "
                "shorten (the `list overhead` of the layers below).",
                lambda r: markdown(HEAD, reasons(r["rows"], layers))),
        section("Scaling from one to two threads", "step",
                f"Asked for: {SCALING_TARGET}x on ResNet-18. *Two steps side by side*: what two independent steps on "
                "a thread each gain in the same turns, so what the machine has to give: its host lends the second "
                "core more or less from minute to minute.", scaling),
        section("Cost of a mask update", "mask_update",
                "TDM exchanges 1 % of the weights; RigL-style adds a pass for the dense gradient.", mask_updates),
        section("Against SparseProp", "sparseprop", "Its automatic mode, the same masks.", sparseprop),
        section("Layers", "layers",
                "One thread. The roofline of an operation is the slowest of compute, one L1 load per FMA, L2 and "
                "memory traffic; `limit` may also be list overhead: accumulators and a mispredicted branch a list.",
                layer_tables),
        section("Shapes", "shapes", "Time per non-zero over a grid of shapes.", plain),
        section("Prediction", "prediction",
                "Networks that nothing trains (a frozen prefix), beside onnxruntime in float32, dense: `ratio_median` "
                "is our time over the peer's, with its floor and goal; `rss_growth_bytes` that of a process that "
                "reads the network and predicts.", plain),
        section("Peak memory", "memory",
                "`bare`: numpy, the engine and a plan; `run`: the whole command. `bytes a weight`: model arrays, "
                "gradients and index lists over living weights. Of the 28 asked for, value, gradient, momentum, both "
                "lists' offsets and the backward value make 24; we add the pattern (4), which masks, checkpoints and "
                "the optimizer share, forward values in list order (4), so that a prediction beside training never "
                "reads an array that Python replaces, 2 for the way back from the backward lists, and a list's start.",
                memory),
        section("Activations in bfloat16", "saved_activations",
                "`--activations bfloat16`: what the backward pass reads again waits in 16 bits, without halo, rounded "
                "to nearest even; the forward pass keeps its bits and all arithmetic is float32. The planner chooses "
                "it where the RAM budget asks and nothing cheaper is left. Two threads, in turns with float32.",
                saved_activations),
        section("With a busy neighbour", "contention",
                "Two threads on two cores while another process keeps one core busy.", contention),
    ]  # fmt: skip
    return "\n".join(parts)


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.parse_args()
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(page())
    print(TARGET.relative_to(ROOT))


if __name__ == "__main__":
    main()
