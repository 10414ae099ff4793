"""`edgecl fleet`: devices that learn together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .. import parsing
from ..errors import BadInput
from .places import writable_file
from .seeds import parse_seeds
from .show import print_table

app = typer.Typer(
    help="Many devices learn one model together; samples stay where they are (docs/fleet.md).", no_args_is_help=True
)
# of the rules of a fleet, simulated or real
Mode = Annotated[str, typer.Option("--mode", metavar="common|union", help="whose pattern")]
Form = Annotated[str, typer.Option("--format", metavar="f32|f16|int8", help="of differences")]
Every = Annotated[int, typer.Option("--every", metavar="N", help="rounds between moves of it; 0: never")]
Share = Annotated[float, typer.Option("--share", metavar="X", help="of the pattern that moves")]

SIMULATE = """A fleet of real learners, one after another, states on disk: sparse with replay (edgecl), beside dense
FedAvg without replay (fedavg_dense) and beside the same devices each for itself (local_only).

  edgecl fleet simulate --stream split-fashion --network cnn --devices 10 --rounds 20 --steps 30 --alpha 0.3

Every device has samples of its own, of every class a part drawn from a Dirichlet distribution; tasks come one after
another over the rounds. The cost is measured on one turn and printed first. Stopped and called again it goes on.
accuracy: of what each device serves at the end of a round, on test samples of its own; p10: of the device at the 10th
percentile; received: of the fleet's model as it came; forgetting: what earlier tasks lost since they were best."""


@app.command("simulate", help=SIMULATE)
def simulate(
    devices: Annotated[int, typer.Option("--devices", metavar="N", help="learners")] = 10,
    rounds: Annotated[int, typer.Option("--rounds", metavar="N", help="exchanges")] = 10,
    steps: Annotated[int, typer.Option("--steps", metavar="N", help="of training, a device and round")] = 20,
    stream: Annotated[str, typer.Option("--stream", metavar="NAME|PATH", help="as of edgecl run")] = "split-mnist5k",
    network: Annotated[str, typer.Option("--network", metavar="NAME", help="as of edgecl run")] = "cnn",
    sparsity: Annotated[float, typer.Option("--sparsity", metavar="X", help="of edgecl and local_only")] = 0.9,
    method: Annotated[str, typer.Option("--method", metavar="NAME", help="of edgecl and local_only")] = "er",
    memory: Annotated[int, typer.Option("--memory", metavar="N", help="replay slots of a device")] = 200,
    batch: Annotated[int, typer.Option("--batch", metavar="N", help="samples of a step")] = 32,
    lr: Annotated[float, typer.Option("--lr", metavar="X", help="learning rate, of all")] = 0.03,
    alpha: Annotated[float, typer.Option("--alpha", metavar="X", help="of the Dirichlet distribution")] = 0.3,
    seeds: Annotated[str, typer.Option("--seeds", metavar="0-2", help="one simulation each")] = "0",
    who: Annotated[str, typer.Option("--who", metavar="NAME,..", help="which")] = "edgecl,fedavg_dense,local_only",
    mode: Mode = "common",
    form: Form = "f16",
    every: Every = 5,
    share: Share = 0.1,
    limit_train: Annotated[int, typer.Option("--limit-train", metavar="N", help="training samples in all")] = 0,
    tests: Annotated[int, typer.Option("--tests", metavar="N", help="test samples of a device and task at most")] = 100,
    out: Annotated[str, typer.Option("--out", metavar="DIR", help="folder of states, to go on from")] = "fleet",
    to: Annotated[str, typer.Option("--json", metavar="FILE", help="write the rows")] = "",
) -> int:
    from ..fleet.rounds import Rules
    from ..fleet.simulate import WHO, Plan, Simulation, costs, open_stream

    numbers, kinds = parse_seeds(seeds), [parsing.choice(WHO)("--who", name) for name in who.split(",")]
    for name, value in (("devices", devices), ("rounds", rounds), ("steps", steps), ("tests", tests)):
        parsing.count(1)(f"--{name}", value)
    if to:
        writable_file(to)
    rules = Rules(mode=mode, form=form, every=every, share=share)
    plan = Plan(
        stream, network, sparsity, method, memory, batch, lr, devices, rounds, steps, alpha, tests, limit_train or None,
        rules,
    )  # fmt: skip
    folder, source = Path(out), open_stream(plan)
    todo = [Simulation(plan, kind, seed, folder, source) for kind in kinds for seed in numbers]
    if any(s.left for s in todo):
        _tell_costs(list(costs(plan, folder, source, kinds, numbers)), [s.left for s in todo], plan.rounds)
    rows: list[dict[str, Any]] = []
    for one in todo:
        one.run(lambda row: print(_line(row), flush=True))
        rows += one.rows
        if to:
            _write(to, rows)
    last = [row for row in rows if row["round"] == rounds]
    names = ["who", "seed", "mode", "format", "bytes_up", "bytes_down", "accuracy", "p10", "received", "forgetting"]
    print_table(names, [[str(row[n]) for n in names] for row in last])
    return 0


NEW = """Write a Flower app for a fleet, and its first model, into a new folder.

  edgecl fleet new DIR --config edgecl.toml     # [learner] of the devices' own configuration
  flwr run DIR NAME --stream                    # as often as you like: it goes on

All devices need the same [learner] network, input, sparsity and, in common mode, sparsity_policy = "static"."""


@app.command("new", help=NEW)
def new(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="a new folder")],
    config: Annotated[str, typer.Option("--config", metavar="FILE", help="edgecl.toml of the devices")],
    mode: Mode = "common",
    form: Form = "f16",
    every: Every = 5,
    share: Share = 0.1,
    least: Annotated[int, typer.Option("--least", metavar="N", help="replies without which a round is void")] = 2,
    clip: Annotated[float, typer.Option("--clip", metavar="X", help="largest norm; 0: by the others'")] = 0.0,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="of the first weights and of what grows")] = 0,
) -> int:
    from ..fleet.app_folder import check_empty, write_app
    from ..fleet.rounds import Rules
    from ..fleet.serving import Serving
    from ..fleet.simulated import Way, first_model
    from ..service.config import read_config

    place = Path(folder).absolute()
    check_empty(place)
    read = read_config(config, {})
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in read.learner.items() if k != "seed"}
    shape, dtype = options.pop("input_shape"), str(options.pop("dtype", "uint8"))
    _check_alike(options, dtype, mode)
    rules = Rules(mode=mode, form=form, every=every, share=share, least=least, clip=clip or None, seed=seed)
    model = first_model(Way(options, True, True, read.fleet.bn), shape, dtype, seed)
    Serving.begin(place / "state", model, rules)
    files = write_app(place, place / "state")
    living = sum(v.size for v in model.values.values())
    print(f"{place}: {len(files)} files, and a first model of {living} living weights")
    return 0


def _check_alike(options: dict[str, Any], dtype: str, mode: str) -> None:
    """Whether every device will make the same of it. Raises `BadInput`."""
    if dtype != "uint8" and not ("mean" in options and "std" in options):
        raise BadInput(
            "Each device would choose mean and std from its own first samples.", "Give [learner] mean and std."
        )
    policy = options.get("sparsity_policy", options.get("mask", "tdm"))
    if mode == "common" and options.get("sparsity", 0) and policy != "static":
        raise BadInput(
            f"The policy '{policy}' moves each device's own pattern.",
            'Say sparsity_policy = "static", or --mode union.',
        )


def _tell_costs(found: list[dict[str, Any]], left: list[int], rounds: int) -> None:
    share = sum(left) / (rounds * len(left))
    seconds = share * sum(f["cpu_seconds"] for f in found)
    for f in found:
        print(f"{f['who']}: {f['turns']} turns, about {f['cpu_seconds'] / 60:.1f} min of CPU, "
              f"{f['disk_bytes'] / 1e6:.0f} MB on disk; the first round takes {f['first_bytes_down']} bytes down and "
              f"{f['first_bytes_up']} up a device")  # fmt: skip
    print(f"left to do: about {seconds / 60:.1f} min of CPU", flush=True)


def _line(row: dict[str, Any]) -> str:
    names = ("who", "seed", "round", "accuracy", "p10", "received", "forgetting", "bytes_up", "bytes_down",
             "gate_refusals", "seconds")  # fmt: skip
    return "  ".join(f"{n} {row[n]}" for n in names)


def _write(to: str, rows: list[dict[str, Any]]) -> None:
    import json
    import shlex
    import sys
    import time

    from .. import __version__

    about = {"command": shlex.join(["edgecl", *sys.argv[1:]]), "edgecl": __version__, "date": time.strftime("%Y-%m-%d")}
    lines = ",\n".join("  " + json.dumps(row) for row in rows)
    head = json.dumps(about, indent=1).removesuffix("\n}")
    Path(to).write_text(f'{head},\n "rows": [\n{lines}\n ]\n}}\n')
