"""`edgecl store`."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..errors import BadInput
from ..learning.root_key import root_key
from ..parsing import text
from .show import print_table

if TYPE_CHECKING:
    from ..storage import SampleStore

app = typer.Typer(help="The sample store on flash.", no_args_is_help=True)
FOLDER = typer.Argument(..., metavar="DIR")
JSON = typer.Option(False, "--json", help="print JSON")
KEY = typer.Option(None, "--root-key-file", metavar="FILE", help="the root key of an encrypted store")


def open_store(folder: str, read_only: bool = True, key: str | None = None) -> SampleStore:
    """The store of a folder, as it is on flash. key: the file of its root key."""
    from ..storage import SampleStore

    if not Path(folder).is_dir():
        raise BadInput(f"'{folder}' is not a folder.", "Give the --store folder of a run.")
    if not (Path(folder) / "store.json").exists():  # an owner would make the rest of a store there
        raise BadInput(f"There is no store in '{folder}'.", "Check the path.")
    return SampleStore(folder, read_only=read_only, root_key=root_key(key, folder))


def flash_figures(device: str) -> tuple[float, float, float]:
    """Capacity in bytes, cycles and write amplification of a profile's flash."""
    from ..devices.load import load_profile

    found = load_profile(device).flash_endurance
    if found is None:
        raise BadInput(f"The profile '{device}' does not know its flash's endurance.", "Use another profile.")
    return found


def megabytes(n: float | None) -> str:
    return "" if n is None else f"{n / 1e6:.2f} MB"


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=1, default=str))


@app.command("stats", help="Samples, flash, wear. Safe beside a running owner.")
def stats(
    folder: str = FOLDER,
    device: str = typer.Option(None, "--device", help="a device profile: forecasts the life of its flash"),
    key: str = KEY,
    as_json: bool = JSON,
) -> None:
    with open_store(folder, key=key) as store:
        s = store.stats()
        shape = {"shape": list(store.schema.sample_shape), "dtype": store.schema.sample_dtype}
        if device is not None:
            s["endurance"] = {"source": f"modelled({device})"} | store.endurance(*flash_figures(device))
    if as_json:
        print_json({**shape, **s})
        return
    written = s["write_amplification"]
    rows = [
        ["samples", f"{s['samples']} live of {s['next_id']}, {s['evicted']} evicted since it was opened"],
        ["stream", f"{shape['dtype']} {shape['shape']}, codec {s['codec']}"],
        ["flash", f"{megabytes(s['flash_bytes'])} in {s['segments']} segments"],
        ["written", f"{megabytes(s['bytes_written'])}, {megabytes(s['bytes_written_last_day'])} in the last day"],
        ["write amplification", "" if written is None else f"{written:.3f}"],
        ["damaged", f"{s['damaged']} records, {s['damaged_fields']} field values"],
        ["index in RAM", megabytes(s["index_ram_bytes"])],
    ]
    if "endurance" in s:
        life = s["endurance"]
        rows.append(["flash life", f"{life['years']:.1f} years at the last day's rate, {life['source']}"])
    print_table(["", folder], rows)
    if s["per_class"]:
        print_table(["class", "samples"], [[str(c), str(n)] for c, n in s["per_class"].items()])


@app.command("verify", help="Read every record and check it. Exit status 0 when the store is sound, 1 when not.")
def verify(folder: str = FOLDER, key: str = KEY, as_json: bool = JSON) -> int:
    with open_store(folder, key=key) as store:
        damaged = store.verify()
        s = store.stats()
    if as_json:
        print_json({**s, "sound": not damaged, "damaged": [dataclasses.asdict(d) for d in damaged]})
    else:
        print(f"{s['samples']} samples, {megabytes(s['flash_bytes'])}, {len(damaged)} damaged records")
        if damaged:
            rows = [["unknown" if d.id is None else str(d.id), str(d.file), str(d.offset), d.reason] for d in damaged]
            print_table(["id", "file", "offset", "reason"], rows)
    return 1 if damaged else 0


@app.command("compact", help="Give back all the space that can be given back.")
def compact(folder: str = FOLDER, key: str = KEY, as_json: bool = JSON) -> None:
    with open_store(folder, read_only=False, key=key) as store:
        given = store.compact()
        left = store.bytes
    result = {"bytes_given_back": given, "flash_bytes": left}
    if as_json:
        print_json(result)
    else:
        print(f"{megabytes(given)} given back, {megabytes(left)} left")


@app.command(
    "forget",
    help="Take out every sample of a subject. A learner's saved states follow when it is opened next; its weights "
    "still carry the subject, unless --retrain makes them again as if it had never been there. A run's saved states "
    "still hold the subject: it is not resumed any more, and its --out folder is yours to remove.",
)
def forget(
    folder: str = FOLDER,
    subject: int = typer.Option(..., "--subject", metavar="N", help="whole number kept with the samples"),
    retrain: str = typer.Option(
        None, "--retrain", metavar="SAVED", help="also the weights: the folder of the saved learner that uses the store"
    ),
    key: str = KEY,
    as_json: bool = JSON,
) -> None:
    from ..erasure.forgetting import STILL_IN_WEIGHTS

    if retrain is not None:
        from ..learner import Learner

        # absolute: the learner's saved states will name it, wherever they are opened next
        with Learner.open(retrain, store=os.path.abspath(folder), root_key=root_key(key, folder, retrain)) as learner:
            done = learner.retrain_without(subject)
        if as_json:
            print_json(done.to_json())
        else:
            print(
                f"{len(done.forgotten.ids)} samples of subject {subject} forgotten: {done.forgotten.holds}. Trained "
                f"anew from {done.start}: {done.samples} samples, {done.steps} steps, {done.seconds:.1f} s."
            )
        return

    with open_store(folder, read_only=False, key=key) as store:
        receipt = store.forget(subject)
    if as_json:
        print_json({**dataclasses.asdict(receipt), "ids": receipt.ids.tolist(), "weights": STILL_IN_WEIGHTS})
    else:
        print(f"{len(receipt.ids)} samples of subject {subject} forgotten: {receipt.holds}. {STILL_IN_WEIGHTS}")


@app.command(
    "audit",
    help="Look whether a receipt of forgetting holds, from the files alone: the store, and the saved states it names. "
    "RECEIPT is what `store forget --json` or Learner.forget gave. Exit status 0 when it holds, 1 when not.",
)
def audit(
    receipt: str = typer.Argument(..., metavar="RECEIPT", help="a JSON file"),
    folder: str = typer.Option(None, "--store", metavar="DIR", help="where the store lies now"),
    as_json: bool = JSON,
) -> int:
    from ..erasure.audit import audit_saved
    from ..report.record import read_object
    from ..storage import audit as audit_store

    content = read_object(receipt, "receipt", "Give what `edgecl store forget --json` printed.")
    found = [*audit_store(content, folder), *audit_saved(content)]
    holds = all(f.holds for f in found)
    if as_json:
        print_json({"holds": holds, "findings": [dataclasses.asdict(f) for f in found]})
    else:
        print_table(["holds", "what", "found"], [["yes" if f.holds else "NO", f.what, f.found] for f in found])
    return 0 if holds else 1


@app.command("export", help="Write the samples to a new folder of safetensors files.")
def export(
    folder: str = FOLDER,
    to: str = typer.Argument(..., metavar="TO", help="a new folder"),
    key: str = KEY,
    as_json: bool = JSON,
) -> None:
    from ..storage import export_store

    with open_store(folder, key=key) as store:
        result = export_store(store, to)
    if as_json:
        print_json(result)
    else:
        print(f"{result['samples']} samples in {result['files']} files, {result['skipped']} damaged ones left out")


@app.command("import", help="Append an export to a store; made if it does not exist.")
def import_(
    folder: str = FOLDER,
    source: str = typer.Argument(..., metavar="FROM", help="the folder of an export"),
    codec: str = typer.Option(
        None, "--codec", help="of a new store: raw, zstd, png, jpeg, int8"
    ),
    key: str = typer.Option(
        None, "--root-key-file", metavar="FILE", help="the store's root key; made with a new store"
    ),
    as_json: bool = JSON,
) -> None:
    from ..storage import SampleStore, import_store
    from ..storage.transfer import exported_schema

    text("DIR", folder)
    schema = None
    if not (Path(folder) / "store.json").exists():
        schema = exported_schema(source)
        schema = schema if codec is None else dataclasses.replace(schema, codec=codec)
    elif codec is not None:
        raise BadInput(f"'{folder}' is a store already.", "Give --codec for a new store only.")
    with SampleStore(folder, schema, root_key=root_key(key, folder, make=schema is not None)) as store:
        result = import_store(store, source)
    if as_json:
        print_json(result)
    else:
        print(f"{result['samples']} samples from {result['files']} files, ids from {result['first_id']}")
