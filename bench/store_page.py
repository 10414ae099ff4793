"""Puts the committed results of the sample store into the tables of docs/store.md.

`python bench/store_page.py` reads bench/results/{store,stall,soak,campaigns}.json; what has no result is named missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from common import host_line
from performance import ROOT, Row, load, markdown

TARGET = ROOT / "docs" / "store.md"
MISSING = "not measured"


def rows_of(name: str, **want: Any) -> list[Row]:
    return [r for r in load(name)["rows"] if all(r.get(k) == v for k, v in want.items())]


def first(rows: Iterable[Row], key: str) -> Any:
    return next((r[key] for r in rows), None)


def show(value: Any, form: str, scale: float = 1.0) -> str:
    return MISSING if value is None else form.format(value * scale)


def campaigns() -> str:
    shown = ("cuts", "bit flips", "pages replaced", "records whose bytes were damaged", "processes that died",
             "samples acknowledged", "samples read and compared", "unacknowledged samples lost",
             "of these older than 50 ms when the power went", "oldest lost, ms", "promises after the cut",
             "samples written", "samples read", "swaps", "verified", "compacted", "rss_growth_bytes",
             "descriptors_most", "descriptors")  # fmt: skip
    what = {"kills": "SIGKILLs", "power_cuts": "power cuts", "damage": "damaged stores opened", "stress": "seconds"}
    table = []
    for name, unit in what.items():
        row = next(iter(rows_of("campaigns", campaign=name)), None)
        if row is None:
            table.append([f"`{name}`", MISSING, "", ""])
            continue
        details = ", ".join(f"{k} {row[k]:,}" for k in shown if k in row)
        table.append([f"`{name}`", f"{row['rounds']:,.0f} {unit}", len(row["failures"]), details])
    return markdown(["campaign", "rounds", "failures", "what happened"], table) + "\n" + measured_on("campaigns")


def measured_on(*names: str) -> str:
    """A line a result: which machine its figures are of, and that machine's ceilings."""
    found = {name: load(name) for name in names}
    return "\n".join(["", *(f"- `{n}`: {host_line(r)}" for n, r in found.items() if r["rows"])])


def worst(rows: list[Row], key: str, choose: Callable[..., Any] = max) -> Any:
    return choose((r[key] for r in rows), default=None)


def figures() -> str:
    durable = "durable, groups of 256"
    lmdb = first(rows_of("store", part="writes", durability=durable, store="lmdb record per key"), "ours_against_it")
    raw = first(rows_of("store", part="writes", durability=durable, store="raw write + fdatasync"), "ours_against_it")
    table = [
        ["durable writes, 3 KB, against one-record-per-key LMDB", "1.0x", "1.3x", show(lmdb, "{:.2f}x")],
        ["... against raw write + fdatasync", "0.7", "0.85", show(raw, "{:.2f}")],
    ]
    for payload in (3072, 784, 96):
        ours = first(rows_of("store", part="reads", store="edgecl", payload=payload), "reads_per_s")
        ram = first(rows_of("store", part="reads", store="RAM", payload=payload), "reads_per_s")
        got = f"{show(ours, '{:.2f}M', 1e-6)} (RAM {show(ram, '{:.1f}M', 1e-6)})"
        table.append([f"random batch of 32, warm, checked, {payload} B, samples/s", "0.5M", "0.8M", got])
    for payload, floor, goal in ((3073, 230, 130), (784, 100, 64), (96, 48, 32)):
        value = first(rows_of("store", part="overhead", store="edgecl", payload=payload), "bytes_beyond")
        table.append([f"flash bytes beyond the payload, {payload} B", floor, goal, show(value, "{:.1f}")])
    for case, floor, goal in (("fill", 1.5, 1.3), ("at capacity", 2.5, 1.8)):
        found = rows_of("store", part="amplification", case=case)
        each = ", ".join(f"{r['payload']} B {r['classes']} {r['write_amplification']:.2f}" for r in found) or MISSING
        table.append([f"write amplification, 1M offers, {case}", floor, goal, each])
    opened = rows_of("store", part="opening", case="clean open")
    store, moved = first(opened, "rss_bytes"), first(opened, "with_carousel_bytes")
    total = None if store is None else store + moved
    table.append(["resident RAM of store + carousel at 1M samples", "12 MB", "8 MB", show(total, "{:.1f} MB", 1e-6)])
    for case, floor, goal in (("clean open", 2, 1), ("open after a crash", 2, 1), ("index rebuild", 30, 15)):
        value = first(rows_of("store", part="opening", case=case), "seconds")
        table.append([f"{case}, 1M samples", f"{floor} s", f"{goal} s", show(value, "{:.3f} s")])
    for row in rows_of("stall", mode="live"):
        name = f"training stall, ResNet-20 b8, every replayed sample swapped, replay {row['replay']}, 20 MB/s, 500 IOPS"
        done = f"{row['stall_share']:.1%} waited, {row['share_of_what_flash_can_serve']:.0%} of what the card can serve"
        more = f"; step {row['seconds_ratio_median'] - 1:+.1%}, a plain reader {row['reader_ratio_median'] - 1:+.1%}"
        table.append([name, "2 %", "0.5 %", done + more])
    soak = next(iter(rows_of("soak")), None)
    if soak is None:
        table.append(["step time and RSS over 1e6 steps", "1 %, 1 MB", "0", MISSING])
    else:
        name = f"over {soak['steps']:,} steps: step time; RSS"
        aged = (
            f"{soak['aged']:+.1%} ± {soak['aged_error']:.1%} against a young twin"
            if "aged" in soak
            else f"CPU time {soak['cpu_growth']:+.1%}, on a machine that others came to load"
        )
        table.append([name, "1 %, 1 MB", "0", f"{aged}; {soak['rss_growth_bytes'] / 1e3:+.0f} KB"])
    return markdown(["", "floor", "goal", "measured"], table) + "\n" + measured_on("store", "stall", "soak")


def peers() -> str:
    names = ["edgecl", "lmdb record per key", "raw write + fdatasync", "npy per file", "torch.save per file"]
    table = []
    for name in names:
        writes = rows_of("store", part="writes", store=name, durability="durable, groups of 256")
        reads = rows_of("store", part="reads", store=name, payload=3072)
        cells = [name, show(first(writes, "writes_per_s"), "{:,.0f}"), show(first(reads, "reads_per_s"), "{:,.0f}")]
        for payload in (3073, 784, 96):
            found = rows_of("store", part="overhead", store=name, payload=payload)
            cells.append(show(first(found, "bytes_beyond"), "{:,.1f}"))
        table.append(cells)
    head = ["", "durable writes/s", "random reads/s", "bytes beyond 3,073", "beyond 784", "beyond 96"]
    return markdown(head, table) + "\n" + measured_on("store")


def main() -> None:
    text = TARGET.read_text()
    for make in (campaigns, figures, peers):
        head, end = f"<!-- {make.__name__} -->\n", f"<!-- end of {make.__name__} -->"
        before, rest = text.split(head)
        text = f"{before}{head}{make()}\n{end}{rest.split(end)[1]}"
    TARGET.write_text(text)


if __name__ == "__main__":
    main()
