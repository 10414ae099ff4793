"""No swap, half of the replayed samples and all of them exchanged, at equal RAM: CarM's comparison.

Per stream every run has the same network, options and slots; only the gate differs, and that there is a store at all.
The store keeps the whole stream. Store and carousel need RAM of their own, a megabyte or two whatever the stream: in a
fourth arm that RAM holds more slots instead. A run is written down when it is done; the same command goes on where it
stopped.

    python bench/swap_ratio.py --json bench/results/swap_ratio.json --markdown docs/carousel.md
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from carousel import summary
from common import arguments, table, write

from edgecl.planning.run_plan import prepare
from edgecl.run import run

COMMON: dict[str, Any] = {
    "sparsity": 0.75,
    "sparsity_policy": "static",
    "batch": 16,
    "lr_schedule": "cosine",
    "memory_policy": "balanced",
    "threads": 1,
}
STREAMS: dict[str, dict[str, Any]] = {
    "split-fashion": {"network": "mlp", "epochs": 5, "lr": 0.1, "memory": 200, "limit_train": 20000},
    "hapt-activities": {"network": "cnn1d", "epochs": 5, "lr": 0.1, "memory": 60},
    "noto-glyphs": {"network": "mlp", "epochs": 4, "lr": 0.3, "memory": 1297, "replay_batch": 32},
}
METHODS: dict[str, dict[str, Any]] = {
    "er": {"method": "er"},
    "der++": {"method": "der++", "alpha": 0.1, "beta": 0.5},
    # the rest of CarM's table, each with the memory policy that is part of it; GDumb replays in no step, so that
    # nothing is exchanged and it stands for what a store alone does
    "icarl": {"method": "icarl", "memory_policy": "herding"},
    "tiny-er": {"method": "tiny-er", "epochs": 1},
    "bic": {"method": "bic"},
    "gdumb": {"method": "gdumb", "memory_policy": "greedy", "memory_epochs": 64},
    "rainbow": {"method": "rainbow", "memory_policy": "uncertainty", "memory_epochs": 16},
}
SWAPS: dict[str, dict[str, Any]] = {
    "none": {},
    "50 %": {"gate": "hybrid_balanced_p", "swap_ratio": 0.5},
    "100 %": {"gate": "all"},
}
MORE = "more slots"  # no swap, with as many slots as make the plan's RAM that of the runs with a store
MORE_SLOTS = {
    ("split-fashion", "er"): 1499,
    ("split-fashion", "der++"): 1482,
    ("hapt-activities", "er"): 813,
    ("hapt-activities", "der++"): 812,
    ("noto-glyphs", "er"): 2452,
    ("noto-glyphs", "der++"): 2064,
}
QUICK = {"epochs": 1, "limit_train": 1200}
HEADING = "## No swap, 50 %, 100 %"

Key = tuple[str, str, str, int]
NAMES = ("stream", "method", "swap", "seed")


def keys(streams: Sequence[str], methods: Sequence[str], seeds: int) -> Iterator[Key]:
    """Every run; a table cut short has all arms of its seeds, the fourth last."""
    for arms in (list(SWAPS), [MORE]):
        for seed in range(seeds):
            for stream in streams:
                for method in methods:
                    for swap in arms:
                        if swap != MORE or (stream, method) in MORE_SLOTS:
                            yield stream, method, swap, seed


def options(key: Key) -> dict[str, Any]:
    """Of a run, but for the folder of its store."""
    stream, method, swap, seed = key
    arm = {"memory": MORE_SLOTS[stream, method]} if swap == MORE else SWAPS[swap]
    return {**COMMON, **STREAMS[stream], **METHODS[method], **arm, "stream": stream, "seed": seed}


def one(key: Key, quick: bool) -> dict[str, Any]:
    """The figures of one run."""
    with tempfile.TemporaryDirectory() as folder:
        store = {"store": f"{folder}/store"} if "gate" in options(key) else {}
        record = run({**options(key), **store, **(QUICK if quick else {})})
    metrics, carousel = record["metrics"], record["carousel"]
    return {
        "accuracy": metrics["average_accuracy"],
        "task_il": metrics["task_il_average_accuracy"],
        "forgetting": metrics["forgetting"],
        "steps": record["steps"],
        "swaps_done": carousel["swaps_done"],
        "bytes_read": carousel["bytes_read"],
        "options": options(key),
    }


def planned_growth(key: Key) -> float:
    """MB that the plan of a run counts above the interpreter."""
    with tempfile.TemporaryDirectory() as folder:
        store = {"store": f"{folder}/store"} if "gate" in options(key) else {}
        return sum(prepare({**options(key), **store}).plan.growth.values()) / 1e6


def rows_of(done: dict[Key, dict[str, Any]]) -> list[dict[str, Any]]:
    """A row per stream and method, over the seeds that all three have. Accuracies in percent, gains in points."""
    rows = []
    for stream in STREAMS:
        for method in METHODS:
            seeds = sorted(set.intersection(*({k[3] for k in done if k[:3] == (stream, method, s)} for s in SWAPS)))
            if not seeds:
                continue
            value = {s: [100 * done[stream, method, s, seed]["accuracy"] for seed in seeds] for s in SWAPS}
            row: dict[str, Any] = {"stream": stream, "method": method, "slots": STREAMS[stream]["memory"]}
            row |= {"n": len(seeds)}
            for swap, found in value.items():
                row[swap], row[f"{swap} std"] = summary(found)[:2]
            for swap in list(SWAPS)[1:]:
                gain = summary([a - b for a, b in zip(value[swap], value["none"])])
                row |= {f"gain {swap}": gain[0], f"gain {swap} low": gain[2], f"gain {swap} high": gain[3]}
                row[f"forgetting {swap}"] = 100 * mean(done[stream, method, swap, s]["forgetting"] for s in seeds)
            more = [s for s in seeds if (stream, method, MORE, s) in done]
            if more:
                found = [100 * done[stream, method, MORE, s]["accuracy"] for s in more]
                gain = summary([100 * done[stream, method, "100 %", s]["accuracy"] - a for s, a in zip(more, found)])
                row |= {"more slots": MORE_SLOTS[stream, method], "more n": len(more), "more": mean(found)}
                row |= {"more std": summary(found)[1], "over more": gain[0]}
                row |= {"over more low": gain[2], "over more high": gain[3]}
            row["forgetting none"] = 100 * mean(done[stream, method, "none", s]["forgetting"] for s in seeds)
            rows.append(row)
    return rows


def section(rows: Sequence[dict[str, Any]]) -> str:
    """The section for the documentation."""
    lines = [
        HEADING,
        "",
        "Average accuracy in percent after the last task with the same slots: no store, half of the replayed samples",
        "exchanged (gate `hybrid_balanced_p`, CarM-50), all of them (gate `all`, CarM-100); mean and deviation over n",
        "seeds, gains over no swap with the 95 % t-interval of the paired difference. The store keeps the whole",
        "stream. Made by `python bench/swap_ratio.py`; every run and option is in `bench/results/swap_ratio.json`.",
        "",
        "| stream | net | method | slots | n | no swap | 50 % | 100 % | gain 50 % | gain 100 % |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        cells = [r["stream"], STREAMS[r["stream"]]["network"], r["method"], str(r["slots"]), str(r["n"])]
        cells += [f"{r[s]:.1f} ± {r[f'{s} std']:.1f}" for s in SWAPS]
        cells += [_gain(r, f"gain {s}") for s in list(SWAPS)[1:]]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "Store and carousel take RAM of their own, whatever the size of stream and memory. Without a store that RAM",
        "holds more slots; the plan's RAM, above the interpreter's, is then the same:",
        "",
        "| stream | method | RAM without, with store, MB | slots | n | no swap, more slots | 100 % | gain 100 % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        if "more" in r:
            stream, method = r["stream"], r["method"]
            ram = "{:.1f}, {:.1f}".format(*(planned_growth((stream, method, s, 0)) for s in ("none", "100 %")))
            cells = [
                stream,
                method,
                ram,
                str(r["more slots"]),
                str(r["more n"]),
                f"{r['more']:.1f} ± {r['more std']:.1f}",
            ]
            cells += [f"{r['100 %']:.1f}", _gain(r, "over more")]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *NOTES, ""])


def _gain(row: dict[str, Any], name: str) -> str:
    return f"{row[name]:+.1f} ({row[f'{name} low']:+.1f} .. {row[f'{name} high']:+.1f})"


NOTES = (
    "`split-fashion`: 5 tasks of 2 classes, 20,000 samples; `hapt-activities`: 3 tasks of 2, tested on unseen people;",
    "`noto-glyphs`: 23 tasks, 1,297 classes, a slot each at the end, tested on an unseen face. Sparsity 75 %, static.",
    "Options were fixed before these runs on the last fifth of every class's training samples with seed 100:",
    "`noto-glyphs` learning rate 0.1, 0.3, 0.6 (100 % swapped: 18.9, 30.1, 26.5), 3 epochs with 48 replayed rows",
    "(28.6), `masked` loss (26.9); balanced memory against a reservoir on all three (no swap, ER: 72.0 and 69.8, 93.2",
    "and 94.3, 14.2 and 13.3).",
)


def put_section(path: str, text: str) -> None:
    """Into the page, in place of the section with the same heading, or at the end."""
    page = Path(path).read_text(encoding="utf-8") if Path(path).exists() else ""
    before, _, rest = page.partition(HEADING)
    _, mark, after = rest.partition("\n## ")
    tail = f"\n## {after}" if mark else ""
    Path(path).write_text(f"{before.rstrip()}\n\n{text}{tail}".lstrip(), encoding="utf-8")


def load(path: str | None) -> dict[Key, dict[str, Any]]:
    """Runs of an earlier call that were made with today's options."""
    if path is None or not Path(path).exists():
        return {}
    done: dict[Key, dict[str, Any]] = {}
    for figures in json.loads(Path(path).read_text())["runs"]:
        stream, method, swap, seed = (figures.pop(name) for name in NAMES)
        if figures["options"] == options((stream, method, swap, seed)):
            done[stream, method, swap, seed] = figures
    return done


def save(done: dict[Key, dict[str, Any]], path: str | None) -> None:
    runs = [{**dict(zip(NAMES, key)), **figures} for key, figures in done.items()]
    write("swap_ratio", rows_of(done), path, runs=runs)


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--streams", nargs="+", default=list(STREAMS), choices=list(STREAMS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--no-more", action="store_true", help="start no run: tables of the finished ones")
    parser.add_argument("--markdown", metavar="FILE", help="write the section into this page")
    o = parser.parse_args()
    if o.quick:
        o.streams, o.methods, o.seeds = ["hapt-activities"], ["er"], 2
    done = {} if o.quick else load(o.json)
    for key in keys(o.streams, o.methods, o.seeds):
        if key not in done and not o.no_more:
            done[key] = one(key, o.quick)
            print(*key, f"{done[key]['accuracy']:.3f}", flush=True)
            save(done, o.json)
    rows = rows_of(done)
    save(done, o.json)
    table(rows)
    if o.markdown:
        put_section(o.markdown, section(rows))


if __name__ == "__main__":
    main()
