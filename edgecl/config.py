"""Config: every option of a run, validated. A run record's ``config`` is one, so a run can be repeated from
it."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import parsing as p
from .data import AUGMENTATIONS
from .errors import BadInput, unknown_name
from .graph.builders import builders
from .methods import gates, methods


def _option(default: Any, parser: p.Parser, about: str, *, none: bool = False) -> Any:
    """A field with its parser and help text; ``none`` allows null (not set)."""
    return field(default=default, metadata={"parse": parser, "about": about, "none": none or default is None})


@dataclass(frozen=True)
class Config:
    """Options of `edgecl run`; ``about`` of each field's metadata says what it is.

    Sizes are bytes, fractions lie in 0..1. None means: not set, the program chooses.
    """

    stream: str = _option("split-mnist5k", p.text, "a stream's name, a folder of class folders, or an .npz file")
    limit_train: int | None = _option(None, p.count(1), "use only so many training samples, equally per class")
    limit_tasks: int | None = _option(None, p.count(1), "use only the stream's first so many tasks")
    validation: float | None = _option(
        None, p.fraction(True, True), "test on this last part of every class's training samples instead"
    )
    model: str = _option("cnn", p.choice(builders()), "network")
    norm: str | None = _option(None, p.choice(("batch", "group", "none")), "normalisation; default: the network's")
    method: str = _option("der++", p.choice(tuple(methods())), "continual-learning method")
    current_loss: str = _option(
        "full",
        p.choice(("full", "masked")),
        "cross-entropy of current data over all units, or the task's only",
    )
    replay_forward: str = _option(
        "joint",
        p.choice(("joint", "separate")),
        "one forward over current and replay, or Mammoth's separate ones",
    )
    alpha: float | None = _option(None, p.real(), "weight of the stored-logits term; default: the method's")
    beta: float | None = _option(None, p.real(), "weight of the replay cross-entropy; default: the method's")
    sparsity: float = _option(0.0, p.fraction(high_open=True), "share of zero weights in the sparse tensors")
    mask: str = _option("tdm", p.choice(("tdm", "static", "set", "rigl", "none")), "how the sparse pattern moves")
    allocation: str = _option("uniform", p.choice(("uniform", "erk")), "how sparsity is shared among tensors")
    gradient_keep: float = _option(1.0, p.fraction(low_open=True), "share of living weights that get a gradient")
    remove: float = _option(0.0, p.fraction(high_open=True), "share of easy samples removed during a task")
    removal_tie_break: str = _option(
        "loss", p.choice(("order", "loss", "random")), "among equally easy samples, which go first"
    )
    sparcl: str = _option("released", p.choice(("released", "paper")), "sparse training as released or as printed")
    epochs: int = _option(10, p.count(1, 1_000_000), "epochs a task")
    batch: int = _option(32, p.count(1), "samples of the current task in a step")
    replay_batch: int | None = _option(None, p.count(1), "samples in a replay draw; default: as batch")
    micro_batch: int | str | None = _option(
        None, p.count_or_auto(1), "rows of one forward at most, or auto (changes what batch norm learns)"
    )
    predict_batch: int | None = _option(
        None, p.count(1), "rows of one evaluation forward at most; default: 32, fewer where RAM asks for it"
    )
    activations: str = _option(
        "auto",
        p.choice(("auto", "float32", "bfloat16")),
        "what the backward pass reads again is kept in these; auto: float32, bfloat16 where RAM asks for it",
    )
    drop_last: bool = _option(False, p.flag, "skip a last incomplete batch")
    augment: str = _option("none", p.choice(tuple(AUGMENTATIONS)), "augmentation of current and replayed samples")
    lr: float = _option(0.1, p.real(0.0, True), "learning rate")
    lr_schedule: str = _option(
        "constant", p.choice(("constant", "cosine")), "learning rate over a task: as it is, or falling to 0"
    )
    optimizer: str = _option("sgd", p.choice(("sgd", "adam")), "optimizer")
    momentum: float = _option(0.0, p.fraction(high_open=True), "momentum of sgd")
    weight_decay: float = _option(0.0, p.real(), "weight decay")
    memory: int = _option(500, p.count(0), "slots of the episodic memory in RAM")
    memory_policy: str = _option(
        "reservoir", p.choice(("reservoir", "ring", "balanced")), "which samples the memory keeps"
    )
    store: str | None = _option(None, p.text, "folder of the sample store on flash")
    store_limit: int | str | None = _option(None, p.store_limit, "largest store: a size, or '5000 samples'")
    root_key_file: str | None = _option(
        None,
        p.text,
        "encrypt store and checkpoints with the root key in this file, made with a new store; keep it off "
        "the card",
    )
    durability: str = _option("batched:1000", p.durability, "durable, or batched:MS")
    gate: str | None = _option(
        None,
        p.choice(tuple(gates())),
        "which replayed samples to exchange; default hybrid_balanced_p with a store",
    )
    swap_ratio: float = _option(0.5, p.fraction(), "share of the replayed samples a gate exchanges")
    refresh_logits: bool = _option(
        False, p.flag, "renew a sample's stored logits at its first replay after it came from flash"
    )
    miro: int | None = _option(
        None, p.count(2), "from this task on, choose memory and stream buffer by accuracy per joule (needs a store)"
    )
    carousel: str = _option("exact", p.choice(("exact", "live")), "wait for late swaps, or drop and log them")
    latency: int = _option(2, p.count(1), "steps from a swap's request to its effect")
    ram: int | None = _option(None, p.size, "peak memory of the process")
    flops: int | None = _option(None, p.amount, "training FLOPs")
    energy: float | None = _option(None, p.energy, "joules of training: 500J or 2Wh")
    energy_source: str | None = _option(
        None,
        p.text,
        "who counts joules: auto, ina, pmic, rapl, battery, csv:FILE, or profile; default: the profile of "
        "--device, else a sensor",
    )
    seconds: float | None = _option(None, p.duration, "training time: 90s or 2h")
    flash: int | None = _option(None, p.size, "bytes on flash")
    flash_writes_per_day: int | None = _option(None, p.size_per_day, "bytes the store may write a day: 50MB")
    max_temperature: float | None = _option(None, p.real(0.0, True), "slow down near, pause at so many degrees Celsius")
    min_battery: float | None = _option(
        None, p.fraction(high_open=True), "slow down near, pause at this charge while discharging"
    )
    max_load: float | None = _option(
        None, p.fraction(), "slow down, then pause, when others take more of all processors than this"
    )
    governor_log: str | None = _option(
        None, p.text, "a run record: slow down and pause at the steps where that run did, whatever the sensors say"
    )
    device: str | None = _option(None, p.text, "device profile for modelled time and energy")
    threads: int = _option(1, p.count(1), "kernel threads")
    seed: int = _option(0, p.count(0), "seed of everything random")
    engine: str = _option("native", p.choice(("native", "torch")), "compiled kernels, or the torch oracle")
    out: str | None = _option(None, p.text, "folder for run.json and checkpoints")
    checkpoint_every: int | None = _option(None, p.count(1), "also save the state every N steps")

    @staticmethod
    def make(options: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> Config:
        """Validated config from raw ``options`` over a stream's ``defaults`` over the built-in ones.

        An option that is None counts as not given. Raises `BadInput`.
        """
        given = normalise(options)
        values = {**normalise(defaults or {}), **{k: v for k, v in given.items() if v is not None}}
        return Config(**values).checked()

    def checked(self) -> Config:
        """Self, after the rules that involve more than one option."""
        if self.store is None:
            for name in ("store_limit", "flash_writes_per_day", "root_key_file"):
                if getattr(self, name) is not None:
                    raise BadInput(f"{flag_name(name)} was given without a store.", "Add --store DIR.")
            if self.miro is not None:
                raise BadInput("Miro fills the memory from a store, and there is none.", "Add --store DIR.")
            if self.gate not in (None, "none"):
                raise BadInput(f"The gate '{self.gate}' has no store to exchange with.", "Add --store DIR.")
        if self.mask == "none" and self.sparsity > 0:
            raise BadInput(
                f"Sparsity {self.sparsity:g} was asked for with mask none.",
                "Use mask tdm, static, set or rigl, or sparsity 0.",
            )
        if self.optimizer == "adam" and self.momentum:
            raise BadInput("Momentum is an option of sgd, not of adam.", "Drop --momentum or use --optimizer sgd.")
        if self.engine == "torch" and self.activations == "bfloat16":
            raise BadInput("The torch engine keeps activations in float32.", "Use --engine native.")
        if self.checkpoint_every is not None and self.out is None:
            raise BadInput("--checkpoint-every needs a folder to write to.", "Add --out DIR.")
        return self

    @property
    def gate_name(self) -> str:
        """The gate in force: hybrid_balanced_p with a store, else none."""
        return self.gate or ("none" if self.store is None else "hybrid_balanced_p")

    @property
    def replay_rows(self) -> int:
        return self.replay_batch or self.batch

    def replace(self, **changes: Any) -> Config:
        """A copy with parsed ``changes``."""
        return dataclasses.replace(self, **normalise(changes)).checked()

    def to_json(self) -> dict[str, Any]:
        """Plain values by option name; `Config.make` reads it back."""
        return dataclasses.asdict(self)


OPTIONS: Mapping[str, dataclasses.Field[Any]] = {f.name: f for f in dataclasses.fields(Config)}


def flag_name(option: str) -> str:
    return "--" + option.replace("_", "-")


def normalise(options: Mapping[str, Any]) -> dict[str, Any]:
    """Parsed values by option name; ``-`` in a name counts as ``_``. Raises `BadInput`."""
    values = {}
    for raw_name, raw in options.items():
        name = str(raw_name).replace("-", "_")
        if name not in OPTIONS:
            raise unknown_name("option", str(raw_name), OPTIONS)
        meta = OPTIONS[name].metadata
        values[name] = None if raw is None and meta["none"] else raw
        if raw is not None:
            values[name] = meta["parse"](name.replace("_", " "), raw)
    return values


def read_config_file(path: str | Path) -> dict[str, Any]:
    """Raw options of a .json or .toml file; a run record gives its ``config``."""
    path = Path(path)
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"The configuration '{path}' cannot be read: {error}.", "Check the path.") from error
    try:
        data = _parse_toml(content) if path.suffix == ".toml" else json.loads(content)
    except ValueError as error:
        raise BadInput(f"The configuration '{path}' is not valid: {error}.", "Repair it; .json or .toml.") from error
    if isinstance(data, dict) and isinstance(data.get("config"), dict):
        data = data["config"]
    if not isinstance(data, dict):
        raise BadInput(f"The configuration '{path}' is not a table of options.", 'Write {"stream": ..., ...}.')
    return data


def _parse_toml(content: str) -> Any:
    if sys.version_info < (3, 11):
        raise BadInput("TOML configurations need Python 3.11 or newer.", "Use a .json file.")
    import tomllib

    return tomllib.loads(content)
