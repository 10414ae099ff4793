"""The cost model against times that others published, and against our engine on this machine.

Without options: eager PyTorch's training steps on Pi 4 and Pi 5 and ncnn's fp32 inference on A53, A57 and A72 boards,
predicted from the device profiles and the committed constants; each row also by constants fitted without its network,
and without its board. Beside them what eager PyTorch took on an x86-64 machine (results/step.json): how far the family
reaches beyond the boards and the large maps that it was fitted on.
--fit prints the constants fitted again. --host: steps of our engine measured here against the prediction from this
machine's calibration (run `edgecl devices calibrate` first, or give --calibrate).
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import tomllib
from common import arguments, table, write

from edgecl.devices import EAGER_TORCH, LATER_TORCH, NCNN, CostModel, Family, load_profile, operations
from edgecl.devices.figures import Figure, Profile
from edgecl.devices.fit import fit_constants, leave_one_out, ratio_error
from edgecl.graph.builders import build
from edgecl.graph.imagenet import imagenet

PUBLISHED = Path(__file__).with_name("published_times.toml")
FAMILIES = {f.name: f for f in (EAGER_TORCH, NCNN)}
HOST_NETS = {
    "resnet20": (3, 32, 32), "resnet18": (3, 32, 32), "cnn": (1, 28, 28), "cnn1d": (6, 1, 128),
    "mobilenetv2": (3, 32, 32), "mlp": (1, 28, 28),
}  # fmt: skip
HOST_CASES = [(32, 1.0, 1), (32, 0.1, 1), (8, 0.1, 1), (8, 1.0, 2), (32, 0.25, 2), (32, 0.05, 2), (16, 0.1, 2)]
FEW_CASES = [(1, 0.1, 1), (2, 0.1, 2)]  # batches that the calibration does not hold: shown beside


def published() -> list[dict]:
    """Rows of published_times.toml."""
    return tomllib.loads(PUBLISHED.read_text())["row"]


def terms(family: Family, rows: list[dict]) -> np.ndarray:
    """[rows, constants] seconds at a constant of 1."""
    graphs = {r["network"]: imagenet(r["network"]) for r in rows}
    return np.array([
        family.terms(operations(graphs[r["network"]], r["batch"], r["mode"]), load_profile(r["device"]), r["threads"])
        for r in rows
    ])  # fmt: skip


def compare(family: Family) -> list[dict]:
    """Every published row of a family: predicted by the committed constants, without its own network, without its own
    board."""
    rows = [r for r in published() if r["family"] == family.name]
    x, seconds = terms(family, rows), np.array([r["seconds"] for r in rows])
    predicted = x @ np.array(list(family.constants.values()))
    fit = np.array([r["role"] == "fit" for r in rows])
    without = {}
    for key in ("network", "device"):
        without[key] = np.full(len(rows), np.nan)
        without[key][fit] = leave_one_out(x[fit], seconds[fit], [r[key] for r, f in zip(rows, fit) if f])
    return [
        {
            "family": family.name, "network": r["network"], "device": r["device"], "mode": r["mode"],
            "threads": r["threads"], "role": r["role"], "seconds": r["seconds"], "predicted": float(p),
            "ratio": float(p / r["seconds"]), "left_out": None if np.isnan(w) else float(w / r["seconds"]),
            "board_left_out": None if np.isnan(b) else float(b / r["seconds"]), "source": r["source"],
        }
        for r, p, w, b in zip(rows, predicted, without["network"], without["device"])
    ]  # fmt: skip


def summary(rows: list[dict], constants: int) -> dict:
    """Median and worst error, the latter as a factor; of rows left out too."""
    fit = [r for r in rows if r["role"] == "fit"]
    out: dict = {"rows": len(fit), "constants": constants, **errors([r["ratio"] for r in fit])}
    for key in ("left_out", "board_left_out"):
        out |= {f"{key}_{k}": v for k, v in errors([r[key] for r in fit]).items()}
    checks = [r for r in rows if r["role"] == "check"]
    if checks:
        out |= {"check_rows": len(checks)}
        out |= {f"check_{k}": v for k, v in errors([r["ratio"] for r in checks]).items()}
    return out


def errors(ratios: list[float]) -> dict[str, float]:
    r = np.array(ratios)
    return {"median": float(np.median(np.abs(r - 1))), "worst_factor": float(ratio_error(r, np.ones(len(r))).max())}


def train_over_forward(rows: list[dict]) -> list[dict]:
    """Of each network and device: seconds of a training step over those of a forward pass that trains the head."""
    found = []
    for train in (r for r in rows if r["mode"] == "train"):
        for head in rows:
            if head["mode"] == "head" and all(head[k] == train[k] for k in ("network", "device", "threads")):
                found.append({
                    "network": train["network"], "device": train["device"],
                    "published": train["seconds"] / head["seconds"],
                    "predicted": train["predicted"] / head["predicted"],
                })  # fmt: skip
    return found


def elsewhere() -> list[dict]:
    """Training steps of later PyTorch on an x86-64 machine (bench/step.py), beside what the family says of that machine
    by its ceilings (bench/layers.py); a large matrix product is taken to reach 80 % of the peak there."""
    steps, layers = (json.loads((PUBLISHED.parent / f"results/{n}.json").read_text()) for n in ("step", "layers"))
    if steps["host"] != layers["host"]:
        raise SystemExit("results/step.json and layers.json are of different machines: measure both on one.")
    machine, found = _machine(layers["ceilings"], steps["host"]["cores"]), {}
    for r in steps["rows"]:
        if r["net"] in HOST_NETS and r["isa"] == "avx512" and r["peer"].startswith("torch"):
            work = operations(build(r["net"], HOST_NETS[r["net"]], 10, input_dtype="float32"), r["batch"], "train")
            predicted = LATER_TORCH.seconds(work, machine, r["threads"]) * 1e3
            found[r["net"], r["batch"], r["threads"]] = {
                "network": r["net"], "batch": r["batch"], "threads": r["threads"], "peer": r["peer"],
                "ms": r["peer_ms"], "predicted_ms": predicted, "ratio": predicted / r["peer_ms"],
            }  # fmt: skip
    return [found[k] for k in sorted(found)]


def _machine(ceilings: dict, cores: int) -> Profile:
    """A profile of an AVX-512 machine: its clock, FMA peak and memory by measured ceilings of one core."""

    def of(value: float) -> Figure:
        return Figure(value, "measured", "bench/layers.py")

    known, flops = load_profile("rpi_5"), 64  # a cycle: two pipes of 16 lanes
    core = replace(known.clusters[0], count=of(cores), ghz=of(ceilings["fma"] / flops / 1e9), flop_per_cycle=of(flops))
    bandwidth = tuple((n, of(2 * ceilings["dram"])) for n in range(1, cores + 1))
    return replace(known, clusters=(core,), bandwidth_by_threads=bandwidth, gemm_by_threads=((1, of(0.8)),))


def refit(family: Family) -> dict[str, float]:
    rows = [r for r in published() if r["family"] == family.name and r["role"] == "fit"]
    found = fit_constants(terms(family, rows), np.array([r["seconds"] for r in rows]))
    return dict(zip(family.constants, map(float, found)))


def host_rows(passes: int) -> list[dict]:
    """Steps of our engine here, measured (the faster of ``passes`` passes) and predicted."""
    from edgecl.devices.calibration.steps import time_step

    profile = load_profile("host")
    rows: dict[tuple, dict] = {}
    for _ in range(passes):
        for net, shape in HOST_NETS.items():
            graph = build(net, shape, 10, input_dtype="float32")
            for batch, density, threads in HOST_CASES + FEW_CASES:
                threads = min(threads, profile.cores)
                step = time_step(graph, batch, density, threads, seconds=0.1)
                cost = CostModel(profile, threads).step(operations(graph, batch, "train", step.densities))
                row = {
                    "net": net, "batch": batch, "density": density, "threads": threads, "ms": step.seconds * 1e3,
                    "predicted_ms": cost.seconds * 1e3, "ratio": cost.seconds / step.seconds,
                    "band_low": cost.band[0], "band_high": cost.band[1], "n": step.rounds,
                }  # fmt: skip
                key = (net, batch, density, threads)
                if key not in rows or row["ms"] < rows[key]["ms"]:
                    rows[key] = row
    return list(rows.values())


def energy_note() -> str:
    """Modelled against measured watts of a busy machine, where a sensor exists."""
    from edgecl.devices.sensors import EnergyMeter, SensorError, open_energy_sensor

    try:
        sensor = open_energy_sensor()
    except SensorError as error:
        return f"joules: not checkable here ({error.cause})"
    from edgecl.devices.calibration.steps import make_step

    profile = load_profile("host")
    graph = build("resnet20", (3, 32, 32), 10, input_dtype="float32")
    _, step = make_step(graph, 32, 0.1, profile.cores)
    modelled = CostModel(profile, profile.cores).step(
        operations(graph, 32, "train", dict.fromkeys(graph.prunable(), 0.1))
    )
    meter, count = EnergyMeter(sensor), 0
    while meter.seconds < 3 or not count:
        step()
        count += 1
        meter.poll(force=count % 20 == 0)
    meter.poll(force=True)
    if modelled.joules is None:
        return "joules: the profile has no power figures; calibrate here first"
    return f"joules of a step: {meter.joules / count:.4g} {meter.source}, {modelled.joules:.4g} {modelled.label}"


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--fit", action="store_true", help="print the constants fitted again")
    parser.add_argument("--host", action="store_true", help="measure our engine here against its prediction")
    parser.add_argument("--calibrate", action="store_true", help="with --host: calibrate first")
    options = parser.parse_args()
    if options.fit:
        for family in FAMILIES.values():
            print(family.name, {k: float(f"{v:.3g}") for k, v in refit(family).items()})
        return
    if options.host:
        if options.calibrate:
            from edgecl.devices.calibration.machine import calibrate

            calibrate(say=lambda text: print(f"measuring: {text}", file=sys.stderr))
        rows = host_rows(1 if options.quick else 2)
        table(rows, ("net", "batch", "density", "threads", "ms", "predicted_ms", "ratio", "n"))
        known = [r for r in rows if r["batch"] >= min(c[0] for c in HOST_CASES)]
        found = errors([r["ratio"] for r in known])
        inside = float(np.mean([r["band_low"] <= 1 / r["ratio"] <= r["band_high"] for r in known]))
        worst = max(abs(r["ratio"] - 1) for r in known)
        print(f"{len(known)} configurations: median {found['median']:.1%}, worst {worst:.1%}; {inside:.0%} in the band")
        few = errors([r["ratio"] for r in rows if r not in known])
        print(f"batches 1 and 2: median {few['median']:.1%}, worst by a factor of {few['worst_factor']:.2f}")
        energy = energy_note()
        print(energy)
        result = {"energy": energy, "configurations": len(known), "worst": worst, "in_band": inside, **found}
        result |= {f"batches_1_and_2_{k}": v for k, v in few.items()}
        write("cost_model_host", rows, options.json, summary=result)
        return
    rows, results = [], {}
    for family in FAMILIES.values():
        found = compare(family)
        rows += found
        results[family.name] = summary(found, len(family.constants))
        table(found, ("family", "network", "device", "mode", "threads", "role", "seconds", "predicted", "ratio",
                      "left_out", "board_left_out"))  # fmt: skip
        print({k: v if isinstance(v, int) else round(v, 3) for k, v in results[family.name].items()})
        ratios = train_over_forward(found)
        if ratios:
            table(ratios, ("network", "device", "published", "predicted"))
            results[family.name]["train_over_forward"] = ratios
    there = elsewhere()
    table(there)
    write("cost_model", rows, options.json, summary=results, elsewhere=there,
          constants={f.name: f.constants for f in FAMILIES.values()})  # fmt: skip


if __name__ == "__main__":
    main()
