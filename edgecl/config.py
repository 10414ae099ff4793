"""Config: every option of a run, validated, and those of the classes it names. A run record's ``config`` is one, so a
run can be repeated from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import parsing as p
from .backbones import backbone_name
from .choices import TAIL, arguments, every_option, network_name, own_options, owners, registered, spread
from .data import AUGMENTATIONS
from .data import options as data
from .errors import BadInput, unknown_name
from .former_names import ELSEWHERE, present_names
from .fronts.executors.registry import executor_name
from .fronts.latents import FORMATS
from .fronts.registry import FRONTS
from .methods.gates import GATES
from .methods.memory_policies import MEMORY_POLICIES
from .methods.registry import METHODS
from .plugins import check_provenance
from .sparsity.registry import POLICIES
from .storage.bounded import read_table


def _option(default: Any, parser: p.Parser, about: str) -> Any:
    """A field with its parser and help text."""
    return field(default=default, metadata={"parse": parser, "about": about})


@dataclass(frozen=True)
class Config:
    """Options of `edgecl run`; ``about`` of each field's metadata says what it is.

    Sizes are bytes, fractions lie in 0..1. None means: not set, the program chooses.
    own : options of the chosen method and policies that were given, by flat name (see `choices`); `of` hands them out
    """

    stream: str = _option(
        "split-mnist5k", p.text, "a stream's name, or data of your own: a folder, an .npz file, a table"
    )
    limit_train: int | None = _option(None, p.count(1), "use only so many training samples, equally per class")
    limit_tasks: int | None = _option(None, p.count(1), "use only the stream's first so many tasks")
    validation: float | None = _option(
        None, p.fraction(True, True), "test on this last part of every class's training samples instead"
    )
    size: str | None = _option(None, data.size, "pictures of this size; default: as they are, auto where they differ")
    background: str | None = _option(None, data.colour, "colour under transparent pictures; default: white")
    skip_broken: bool = _option(False, p.flag, "leave out files that cannot be read, and count them")
    folders: str | None = _option(None, data.folders, "what the levels of folders are, where it cannot be told")
    axes: str | None = _option(None, data.axes, "order of a sample's axes, where it cannot be told")
    columns: str | None = _option(None, data.columns, f"columns of a table: {', '.join(data.ROLES)}")
    window: str | None = _option(None, data.window, "length of a window of a series; whole: resample each")
    hop: str | None = _option(None, data.hop, "way from a window to the next; default: 50%")
    sample_rate: float | None = _option(None, data.sample_rate, "steps a second of a series that does not say so")
    test_split: str | None = _option(
        None, data.test_split, "what tests where the data has no test part: a share, subject, file, or subject:NAMES"
    )
    by: str | None = _option(None, p.choice(data.BY), "a task is new classes, a subject, a time, a file or a domain")
    classes_per_task: int | None = _option(None, p.count(1), "classes of a task by class; default: the stream's, or 2")
    task_count: int | None = _option(None, p.count(1), "tasks of a stream by time; default: 5")
    order: str | None = _option(None, p.choice(data.ORDERS), "order of classes or tasks; default: natural")
    front: str = _option("none", registered(FRONTS, "none"), "what raw samples pass before the network")
    backbone: str | None = _option(
        None, backbone_name, "pretrained network whose frozen first part samples pass once: a name, or its file"
    )
    cut: str | None = _option(None, p.text, "tensor of the backbone that is kept, replayed and learned from")
    latent: str | None = _option(
        None, p.choice(FORMATS), "what latents are kept in; default: uint8 behind a ReLU, else int8"
    )
    executor: str | None = _option(
        None, executor_name, "who runs the backbone; default: auto, by a trial of both that are ours"
    )
    network: str = _option(
        "cnn", network_name, "network: a name, a file that holds one, or tail: what follows the backbone's cut"
    )
    norm: str | None = _option(None, p.choice(("batch", "group", "none")), "normalisation; default: the network's")
    freeze_below: str | None = _option(None, p.text, "a node of the network: it and all it depends on learn nothing")
    method: str = _option("der++", registered(METHODS), "continual-learning method")
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
    sparsity: float = _option(0.0, p.fraction(high_open=True), "share of zero weights in the sparse tensors")
    sparsity_policy: str = _option("tdm", registered(POLICIES, "none"), "how the sparse pattern moves")
    allocation: str = _option("uniform", p.choice(("uniform", "erk")), "how sparsity is shared among tensors")
    gradient_keep: float = _option(1.0, p.fraction(low_open=True), "share of living weights that get a gradient")
    remove: float = _option(0.0, p.fraction(high_open=True), "share of easy samples removed during a task")
    removal_tie_break: str = _option(
        "loss", p.choice(("order", "loss", "random")), "among equally easy samples, which go first"
    )
    sparse_schedule: str = _option(
        "released", p.choice(("released", "paper")), "SparCL's schedule: of the released code, or of the paper"
    )
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
    augment: str = _option("none", p.choice(AUGMENTATIONS), "augmentation of current and replayed samples")
    lr: float | str = _option(0.1, p.real_or_auto(0.0, True), "learning rate; auto: by short trials on the first task")
    lr_schedule: str = _option(
        "constant", p.choice(("constant", "cosine")), "learning rate over a task: as it is, or falling to 0"
    )
    optimizer: str = _option("sgd", p.choice(("sgd", "adam")), "optimizer")
    momentum: float = _option(0.0, p.fraction(high_open=True), "momentum of sgd")
    weight_decay: float = _option(0.0, p.real(), "weight decay")
    memory: int = _option(500, p.count(0), "slots of the episodic memory in RAM")
    memory_policy: str = _option("reservoir", registered(MEMORY_POLICIES), "which samples the memory keeps")
    store: str | None = _option(None, p.text, "folder of the sample store on flash")
    store_limit: int | str | None = _option(None, p.store_limit, "largest store: a size, or '5000 samples'")
    root_key_file: str | None = _option(
        None,
        p.text,
        "encrypt store and checkpoints with the root key in this file, made with a new store; keep it off the card",
    )
    durability: str = _option("batched:1000", p.durability, "durable, or batched:MS")
    gate: str | None = _option(
        None,
        p.choice(GATES),
        "which replayed samples to exchange; default hybrid_balanced_p with a store",
    )
    swap_ratio: float = _option(0.5, p.fraction(), "share of the replayed samples a gate exchanges")
    refresh_logits: bool = _option(
        False, p.flag, "renew a sample's stored logits at its first replay after it came from flash"
    )
    miro: int | None = _option(
        None, p.count(2), "from this task on, choose memory and stream buffer by accuracy per joule (needs a store)"
    )
    late_swaps: str = _option("wait", p.choice(("wait", "drop")), "wait for late swaps, or drop and log them")
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
    threads: int = _option(1, p.count(1, 1024), "kernel threads")
    seed: int = _option(0, p.count(0), "seed of everything random")
    engine: str = _option("native", p.choice(("native", "torch")), "compiled kernels, or the torch oracle")
    out: str | None = _option(None, p.text, "folder for run.json and checkpoints")
    checkpoint_every: int | None = _option(None, p.count(1), "also save the state every N steps")
    own: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @staticmethod
    def make(options: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> Config:
        """Validated config from raw ``options`` over those that suit the method, over a stream's ``defaults``, over the
        built-in ones.

        An option that is None counts as not given. Raises `BadInput`.
        """
        given = normalise(options)
        given = {k: v for k, v in given.items() if v is not None}
        values = {**normalise(defaults or {}), **given}
        method = METHODS.get(values.get("method", OPTIONS["method"].default))
        values = {**values, **normalise(method.defaults), **given}
        core = {k: v for k, v in values.items() if k in OPTIONS}
        return Config(**core)._with_own({k: v for k, v in values.items() if k not in OPTIONS}).checked()

    def _with_own(self, given: Mapping[str, Any]) -> Config:
        """A copy with the options ``given`` of the classes that are chosen, parsed. Raises `BadInput` for any other."""
        known = own_options(self.__dict__, OPTIONS)
        for name, raw in given.items():
            if name not in known and raw is not None:
                raise self._not_chosen(name)
        return dataclasses.replace(
            self, own={k: known[k].about.value(k, raw) for k, raw in given.items() if raw is not None}
        )

    def _not_chosen(self, name: str) -> BadInput:
        """The refusal of an option that none of the chosen classes has."""
        having = owners(name)
        choice = having[0].choice
        chosen, kind = choice.chosen(self.__dict__), choice.registry.kind
        names = " or ".join(dict.fromkeys(own.name for own in having))
        return BadInput(
            f"No {kind} is used that has an option '{name}'."
            if chosen is None
            else f"{kind.capitalize()} '{chosen}' has no option '{name}'.",
            f"Drop {flag_name(name)}, or {choice.remedy or f'use {flag_name(choice.option)} {names}'}.",
        )

    def checked(self) -> Config:
        """Self, after the rules that involve more than one option."""
        self._check_backbone()
        if self.store is None:
            for name in ("store_limit", "flash_writes_per_day", "root_key_file"):
                if getattr(self, name) is not None:
                    raise BadInput(f"{flag_name(name)} was given without a store.", "Add --store DIR.")
            if self.miro is not None:
                raise BadInput("Miro fills the memory from a store, and there is none.", "Add --store DIR.")
            if self.gate not in (None, "none"):
                raise BadInput(f"The gate '{self.gate}' has no store to exchange with.", "Add --store DIR.")
        if self.sparsity_policy == "none" and self.sparsity > 0:
            raise BadInput(
                f"Sparsity {self.sparsity:g} was asked for with the sparsity policy none.",
                "Use another --sparsity-policy, or sparsity 0.",
            )
        if self.optimizer == "adam" and self.momentum:
            raise BadInput("Momentum is an option of sgd, not of adam.", "Drop --momentum or use --optimizer sgd.")
        if self.engine == "torch" and self.activations == "bfloat16":
            raise BadInput("The torch engine keeps activations in float32.", "Use --engine native.")
        if self.checkpoint_every is not None and self.out is None:
            raise BadInput("--checkpoint-every needs a folder to write to.", "Add --out DIR.")
        return self

    def _check_backbone(self) -> None:
        if self.front == BACKBONE:
            if self.augment != "none":
                raise BadInput(
                    "Augmentation would act on latents, not on samples.", "Drop --augment, or augment the samples."
                )
            return
        for name in ("backbone", "cut", "latent", "executor"):
            if getattr(self, name) is not None:
                other = "without a backbone" if name != "backbone" else f"with the front '{self.front}'"
                raise BadInput(f"{flag_name(name)} was given {other}.", f"Drop {flag_name(name)}, or use --backbone.")
        if self.network == TAIL:
            raise BadInput("The network 'tail' is what follows a backbone's cut.", "Add --backbone and --cut.")

    @property
    def reading(self) -> data.Reading:
        """How a user's own data is read."""
        return data.Reading(**{f.name: getattr(self, f.name) for f in dataclasses.fields(data.Reading)})

    @property
    def cutting(self) -> data.Cutting:
        """How the data becomes tasks."""
        return data.Cutting(self.by, self.classes_per_task, self.task_count, self.order, self.seed)

    @property
    def gate_name(self) -> str:
        """The gate in force: hybrid_balanced_p with a store, else none."""
        return self.gate or ("none" if self.store is None else "hybrid_balanced_p")

    @property
    def rate(self) -> float:
        """The learning rate, once it is known."""
        return float(self.lr)

    @property
    def replay_rows(self) -> int:
        return self.replay_batch or self.batch

    @property
    def micro_rows(self) -> int | None:
        """Rows of one forward at most. ``auto`` has been made a number by the planner, or means no limit."""
        return self.micro_batch if isinstance(self.micro_batch, int) else None

    def of(self, option: str) -> dict[str, Any]:
        """Keyword arguments for the class that ``option`` (such as ``method``) names; none where it names no class."""
        return arguments(option, self.__dict__, self.own)

    def replace(self, **changes: Any) -> Config:
        """A copy with parsed ``changes``; options of a class that is no longer chosen are dropped."""
        given = normalise(changes)
        changed = dataclasses.replace(self, **{k: v for k, v in given.items() if k in OPTIONS})
        known = own_options(changed.__dict__, OPTIONS)
        kept = {k: v for k, v in self.own.items() if k in known}
        return changed._with_own({**kept, **{k: v for k, v in given.items() if k not in OPTIONS}}).checked()

    def to_json(self) -> dict[str, Any]:
        """Plain values by option name, options of the chosen classes among them; `Config.make` reads it back."""
        core = {name: getattr(self, name) for name in OPTIONS}
        return {**core, **{name: self.own.get(name) for name in own_options(self.__dict__)}}


# options of the data a run reads: a learner, which is handed its samples, has none of them
DATA_OPTIONS = tuple(f.name for kind in (data.Reading, data.Cutting) for f in dataclasses.fields(kind))[:-1]
OPTIONS: Mapping[str, dataclasses.Field[Any]] = {f.name: f for f in dataclasses.fields(Config) if f.metadata}


BACKBONE = "backbone"  # the front that a backbone is


def flag_name(option: str) -> str:
    return "--" + option.replace("_", "-")


def normalise(options: Mapping[str, Any]) -> dict[str, Any]:
    """Parsed values by present option name. An option of a class that ``options`` do not choose stays as it is, for
    `Config.make` to judge once everything is known. Raises `BadInput`."""
    raw_values = spread(present_names(options, warn=True))
    known = own_options(raw_values)
    values = {}
    for name, raw in raw_values.items():
        if name in OPTIONS:
            meta = OPTIONS[name].metadata
            values[name] = raw if raw is None else meta["parse"](name.replace("_", " "), raw)
        elif name in known:
            values[name] = known[name].about.value(name, raw) if raw is not None else None
        elif owners(name):
            values[name] = raw
        else:
            known_names = [*OPTIONS, *(flat for flat, _ in every_option())]
            raise unknown_name("option", name, known_names, ELSEWHERE.get(name))
    return _with_tail(values)


def _with_tail(values: dict[str, Any]) -> dict[str, Any]:
    """With the front that a backbone is and, unless another network was named, what follows its cut."""
    if values.get("backbone") is not None and values.get("front") in (None, "none"):
        values["front"] = BACKBONE
    if values.get("front") == BACKBONE and values.get("network") is None:
        values["network"] = TAIL
    return values


def read_config_file(path: str | Path) -> dict[str, Any]:
    """Raw options of a .json or .toml file; a run record gives its ``config``."""
    try:
        data = read_table(path)
    except OSError as error:
        raise BadInput(f"The configuration '{path}' cannot be read: {error}.", "Check the path.") from error
    except ValueError as error:
        raise BadInput(f"The configuration '{path}' is not valid: {error}.", "Repair it; .json or .toml.") from error
    if isinstance(data, dict) and isinstance(data.get("config"), dict):
        check_provenance(data.get("plugins", ()), "record")
        data = present_names(data["config"])
    if not isinstance(data, dict):
        raise BadInput(f"The configuration '{path}' is not a table of options.", 'Write {"stream": ..., ...}.')
    if "use" in data:
        raise BadInput(f"The configuration '{path}' names code to import.", "Say it yourself: --use FILE.py.")
    return data
