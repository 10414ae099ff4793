"""The reproduction ledger: our methods against other people's code, on their data, by rules that can say no.

    python bench/ledger.py run ROW [ROW ...] | all | cheap [--seeds N]
    python bench/ledger.py table

``run`` appends a line a row to bench/ledger.jsonl, the newest of an id counts; seeds that are there already are not run
again, so an interrupted campaign goes on where it was. ``table`` writes docs/ledger.md, red and open rows first. Rules:
95 % intervals, margins fixed before, no best epochs, no overlap of intervals as a verdict.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from common import ceilings, host, versions
from ledger_math import figure_verdict, order_verdict
from ledger_plan import MARGIN, ROWS, Row

HERE = Path(__file__).resolve().parent
LEDGER, PEERS, TABLE = HERE / "ledger.jsonl", HERE / "peers.json", HERE.parent / "docs" / "ledger.md"
FLOPS_A_SECOND = 8e9  # of one core, until a row says better
ORDER = ("not reproduced", "open", "not comparable", "better", "reproduced")
ONE = """
import json, sys
from edgecl.run import run
record = run(json.loads(sys.argv[1]))
keep = {k: record[k] for k in ("metrics", "status", "seconds", "memory", "flops", "warnings")}
print(json.dumps({**keep, "health": record["health"]}))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    does = parser.add_subparsers(dest="does", required=True)
    runs = does.add_parser("run")
    runs.add_argument("rows", nargs="+", help="ids, 'all', or 'cheap': what takes no training, or a minute of it")
    runs.add_argument("--seeds", type=int, default=5)
    does.add_parser("table")
    does.add_parser("rows", help="list the ids")
    given = parser.parse_args()
    if given.does == "rows":
        print("\n".join(row.id for row in ROWS))
    elif given.does == "table":
        write_table()
    else:
        run_rows(chosen_rows(given.rows), given.seeds)
    return 0


def chosen_rows(names: list[str]) -> list[Row]:
    if names == ["all"]:
        return list(ROWS)
    if names == ["cheap"]:
        return [row for row in ROWS if row.claim == "invariant"]
    known = {row.id: row for row in ROWS}
    unknown = [n for n in names if n not in known]
    if unknown:
        raise SystemExit(f"error: there is no row '{unknown[0]}'\n  try: python bench/ledger.py rows")
    return [known[n] for n in names]


def run_rows(rows: list[Row], seeds: int) -> None:
    """Run what is missing, the cost first."""
    there = newest()
    cost = {row.id: missing_flops(row, there, seeds) for row in rows}
    total = sum(cost.values())
    print(f"{len(rows)} rows, {seeds} seeds: {total:.2e} FLOPs to do, about {total / rate(there) / 60:.0f} minutes")
    for row in rows:
        print(f"{row.id} ...", flush=True)
        done = check(row) if row.claim == "invariant" else measure(row, seeds)
        print(f"  {done['verdict']}: {done['why']}")


def rate(there: dict[str, dict[str, Any]]) -> float:
    """FLOPs a second of what was run here."""
    flops = sum(r["cost"]["flops"] for r in there.values())
    seconds = sum(r["cost"]["seconds"] for r in there.values())
    return float(flops / seconds) if seconds > 60 else FLOPS_A_SECOND


def missing_flops(row: Row, there: dict[str, dict[str, Any]], seeds: int) -> float:
    if row.claim == "invariant":
        return 1e9
    from edgecl.planning.run_plan import prepare

    total = 0.0
    for options in filter(None, (row.options, row.against)):
        missing = seeds - len(held(there, options))
        if missing > 0:
            plan = prepare({**options, "seed": 0}).plan
            total += missing * plan.steps * plan.step_flops
    return total


def held(there: dict[str, dict[str, Any]], options: dict[str, Any]) -> dict[str, Any]:
    """Runs that are there and were made with these options, in whatever row, by seed."""
    found: dict[str, Any] = {}
    for row in there.values():
        for side in filter(None, (row.get("ours"), row.get("against"))):
            if side["config_sha256"] == digest(options):
                found |= side["runs"]
    return found


def digest(options: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:16]


def one(options: dict[str, Any], seed: int) -> dict[str, Any]:
    """A run in a process of its own; what the ledger keeps of its record."""
    command = [sys.executable, "-P", "-c", ONE, json.dumps({**options, "seed": seed})]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"error: seed {seed} failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    record = json.loads(done.stdout.strip().splitlines()[-1])
    return {
        "class_il": 100 * record["metrics"]["average_accuracy"],
        "task_il": 100 * (record["metrics"]["task_il_average_accuracy"] or 0),
        "forgetting": 100 * (record["metrics"]["forgetting"] or 0),
        "seconds": round(time.monotonic() - began, 1),
        "flops": record["flops"]["full"]["executed"],
        "peak_rss": record["memory"]["measured_peak_rss_bytes"],
    }


def measure(row: Row, seeds: int) -> dict[str, Any]:
    """Run the missing seeds; a line in the ledger after each, and one where none was missing."""
    sides = {"ours": row.options, **({"against": row.against} if row.against else {})}
    runs = {side: held(newest(), options) for side, options in sides.items()}
    for seed in range(seeds):
        missing = [side for side in sides if str(seed) not in runs[side]]
        for side in missing:
            runs[side][str(seed)] = one(sides[side], seed)
        if missing and seed < seeds - 1:
            append(measured(row, runs))
    return append(measured(row, runs))


def measured(row: Row, runs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The row's object from the runs of its sides."""
    values = {side: [r["class_il"] for _, r in sorted(found.items())] for side, found in runs.items()}
    reference: dict[str, Any] = {"kind": "own order", "metric": "class_il", "unit": "percent", "says": row.says}
    if row.claim == "figure":
        reference = {**peer(row), "says": row.says}
        verdict, why, difference = figure_verdict(values["ours"], reference["values"], MARGIN, row.differences)
    else:
        verdict, why, difference = order_verdict(values["ours"], values["against"])
    every = [r for found in runs.values() for r in found.values()]
    body = {
        "reference": reference,
        "ours": side_of(row.options, runs["ours"]),
        "protocol": protocol(row),
        "difference": {**difference, "method": "Welch" if row.claim == "figure" else "paired t"},
        "margin": MARGIN,
        "verdict": verdict,
        "why": why,
        "cost": {
            "seconds": round(sum(r["seconds"] for r in every), 1),
            "flops": sum(r["flops"] for r in every),
            "peak_rss": max(r["peak_rss"] for r in every),
        },
    }
    if row.against is not None:
        body["against"] = side_of(row.against, runs["against"])
    return finished(row, body)


def side_of(options: dict[str, Any], runs: dict[str, Any]) -> dict[str, Any]:
    values = [r["class_il"] for _, r in sorted(runs.items())]
    spread = stdev(values) if len(values) > 1 else None
    return {
        "values": [round(v, 2) for v in values], "mean": round(mean(values), 2) if values else None, "sd": spread,
        "n": len(values), "hyper": options, "config_sha256": digest(options), "runs": runs,
    }  # fmt: skip


def peer(row: Row) -> dict[str, Any]:
    """The runs of a peer's code that the row compares with: the newest batch of them."""
    assert row.peer is not None
    name, method = row.peer
    known = json.loads(PEERS.read_text())
    found = [
        r
        for r in known["runs"]
        if (r["stream"], r["peer"], r["method"]) == (row.stream, name, method) and r["epochs"] == row.options["epochs"]
    ]
    best = max(found, key=lambda r: (len(r["seeds"]), r["batch_of_runs"]))
    values = best["class_il"]
    return {
        "source": name, "kind": "peer-on-our-data", "metric": "class_il", "unit": "percent", "values": values,
        "mean": round(mean(values), 2), "sd": round(stdev(values), 2) if len(values) > 1 else None, "n": len(values),
        "hyper": best["hyper"],
    }  # fmt: skip


def protocol(row: Row) -> dict[str, Any]:
    o = row.options
    return {
        "stream": row.stream, "order": "fixed", "model": o["network"], "epochs": o["epochs"], "batch": o["batch"],
        "replay": o.get("replay_batch", o["batch"]), "memory": o["memory"], "memory_bytes": 784 * o["memory"],
        "policy": o["memory_policy"], "forward": o["replay_forward"], "current_loss": o.get("current_loss", "full"),
        "lr": o["lr"], "normalisation": "x/255", "test": "last epoch", "differences": list(row.differences),
    }  # fmt: skip


def check(row: Row) -> dict[str, Any]:
    """An invariant, in this process."""
    from ledger_checks import CHECKS

    assert row.check is not None
    began = time.monotonic()
    holds, why = CHECKS[row.check]()
    cost = {"seconds": round(time.monotonic() - began, 1), "flops": 0, "peak_rss": 0}
    verdict = "reproduced" if holds else "not reproduced"
    return append(finished(row, {"verdict": verdict, "why": f"{row.says}: {why}", "cost": cost}))


def finished(row: Row, body: dict[str, Any]) -> dict[str, Any]:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False)
    return {
        "id": row.id, "method": row.method, "claim": row.claim, **body, "says": row.says,
        "commit": commit.stdout.strip(), "versions": versions("torch"), "host": host(), "ceilings": ceilings(),
        "command": f"python bench/ledger.py run {row.id}",
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
    }  # fmt: skip


def append(row: dict[str, Any]) -> dict[str, Any]:
    with LEDGER.open("a", encoding="utf-8") as f:
        f.write(json.dumps(row) + "\n")
    return row


def newest() -> dict[str, dict[str, Any]]:
    """The newest line of each id."""
    lines = LEDGER.read_text(encoding="utf-8").splitlines() if LEDGER.is_file() else []
    rows = [json.loads(line) for line in lines if line.strip()]
    return {r["id"]: r for r in rows}


def write_table() -> None:
    """docs/ledger.md: a line a row, those that fail or are open first; rows never run stand as such."""
    there = newest()
    rows = [there.get(row.id) or {**asdict(row), "verdict": "not run", "why": ""} for row in ROWS]
    rank = {v: i for i, v in enumerate((*ORDER[:2], "not run", *ORDER[2:]))}
    rows.sort(key=lambda r: rank[r["verdict"]])
    lines = [
        "# Reproduction ledger",
        "",
        "Our methods against other people's code on their data, orders between methods, invariants; a line each, what",
        "is red or open first. Written by `python bench/ledger.py table` from `bench/ledger.jsonl`, where every",
        "run, its options and its cost stand. Percent, Class-IL after the last task; intervals are of 95 %.",
        "",
        "| verdict | row | ours | reference | difference | why |",
        "|---|---|---|---|---|---|",
    ]
    for r in rows:
        cells = r["verdict"], r["id"], _values(r.get("ours")), _reference(r), _difference(r), r["why"]
        lines.append(f"| {' | '.join(cells)} |")
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{TABLE}: {len(rows)} rows, {sum(r['verdict'] == 'not run' for r in rows)} of them not run")


def _values(side: dict[str, Any] | None) -> str:
    if not side or side.get("mean") is None:
        return "-"
    spread = "" if side.get("sd") is None else f" +- {side['sd']:.1f}"
    return f"{side['mean']:.1f}{spread} (n {side['n']})"


def _reference(r: dict[str, Any]) -> str:
    if r.get("against"):
        return _values(r["against"]) if "n" in r["against"] else "-"
    found = r.get("reference")
    return f"{_values(found)}, {found['source']}" if found and found.get("values") else "-"


def _difference(r: dict[str, Any]) -> str:
    found = r.get("difference")
    if not found or found["mean"] is None:
        return "-"
    return f"{found['mean']:+.1f} [{found['interval95'][0]:+.1f}, {found['interval95'][1]:+.1f}]"


if __name__ == "__main__":
    sys.exit(main())
