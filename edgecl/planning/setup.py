"""Setup: what a learner is made of, as its caller said it, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import parsing
from ..budget import Budget
from ..choices import TAIL, arguments
from ..config import DATA_OPTIONS, OPTIONS, Config, normalise
from ..errors import BadInput
from ..graph import Graph
from ..intake.front import FrontInUse, saved_front
from ..intake.spec import SampleSpec, sample_spec
from ..network import SUFFIX, Network, is_name, resolve_network
from .configured import configured_method, needs_tasks
from .front import backbone_form, configured_front, room_for, with_backbone
from .weights import read_weights

# Options of a run that say where its data is and where it writes; a learner has its own words for them.
OF_RUNS = frozenset(
    {
        "stream",
        "limit_train",
        "limit_tasks",
        "validation",
        "out",
        "checkpoint_every",
        "epochs",
        "ram",
        "flops",
        "energy",
        "seconds",
        "flash",
        "root_key_file",
        *DATA_OPTIONS,
    }
)
DEFAULTS = {"method": "er", "memory": 200}
CLASSES = 10  # head units of a network by name, where nobody says


@dataclass(frozen=True)
class Setup:
    """Values that make a learner; the same ones make its like.

    config : with every option;  free : options that the planner may choose
    front : what raw samples pass, or None;  spec : of samples behind it
    network : as it was when the learner was first made;  classes : head units to begin with now, at least its
    weights : the file that the network's weights came from, or None
    buffer : samples of the present task held in RAM;  keep : states kept at the ends of tasks
    tasks : whether the stream has tasks
    """

    config: Config
    network: Network
    spec: SampleSpec
    classes: int
    buffer: int
    budget: Budget
    keep: int = 0
    tasks: bool = True
    free: frozenset[str] = frozenset()
    weights: Path | None = None
    front: FrontInUse | None = None

    @property
    def raw(self) -> SampleSpec:
        """What a raw sample looks like; mean and std are of what comes out of the front."""
        return self.spec if self.front is None else self.front.raw

    @property
    def wide_network(self) -> Network:
        """The network with a head of ``classes``."""
        return resolve_network(self.network, self.spec, self.classes, rng=np.random.default_rng(self.config.seed))

    @property
    def scale_is_open(self) -> bool:
        """Whether the first samples are to say by what the input is normalised: nobody else did."""
        named = self.config.network
        built = "@" not in named and not named.endswith(SUFFIX)
        said = self.spec.mean is not None or self.spec.std is not None
        return self.spec.dtype == "float32" and built and not said and self.weights is None

    def to_json(self) -> dict[str, Any]:
        """Plain values for a saved state."""
        s = self.spec
        return {
            "spec": {"shape": s.shape, "dtype": s.dtype, "mean": s.mean, "std": s.std},
            "network": self.network.to_state(weights=False),
            **({} if self.front is None else {"front": self.front.state()}),
        }


def taken_by(
    network: Any, shape: Any, dtype: Any, mean: Any, std: Any, options: Mapping[str, Any] | None = None
) -> SampleSpec:
    """What samples look like, as a user says, or as the backbone among ``options`` or a network of one's own takes
    them. Raises `BadInput`."""
    if shape is None or dtype is None:
        backbone = backbone_form(options or {})
        if backbone is not None:
            shape, dtype = (own if said is None else said for said, own in zip((shape, dtype), backbone))
        elif network is None or is_name(network):
            if shape is None:
                named = network or "cnn"
                raise BadInput(f"'{named}' can be made for many kinds of samples.", "Give input_shape=(C, H, W).")
            dtype = "uint8"
        else:
            own = Network.load(network) if isinstance(network, (str, Path)) else network
            graph = getattr(own, "graph", own)
            shape = getattr(graph, "input_shape", ()) if shape is None else shape
            dtype = getattr(graph, "input_dtype", "uint8") if dtype is None else dtype
    return sample_spec(shape, dtype, mean, std)


def make_setup(
    network: str | Path | Graph | Network | None,
    options: Mapping[str, Any],
    *,
    spec: SampleSpec,
    classes: int | None,
    buffer: int,
    budget: Budget | None = None,
    keep: int = 0,
    tasks: bool = True,
    weights: str | Path | None = None,
    called: str | None = None,
) -> Setup:
    """Everything checked. ``network``: None for what follows a backbone's cut, or cnn;  ``spec``: of raw samples
    ``called``: what the configuration calls a network that is given as a value;  ``classes``: None for those that a
    network of one's own has, 10 for one by name.

    Raises `BadInput`.
    """
    for name in options:
        if name.replace("-", "_") in OF_RUNS:
            raise BadInput(f"'{name}' is an option of a run, not of a learner.", "See help(edgecl.Learner).")
    if classes is None:
        classes = CLASSES if network is None or is_name(network) else 1
    buffer, classes = parsing.count(1)("buffer", buffer), parsing.count(1)("classes", classes)
    keep = parsing.count()("keep_checkpoints", keep)
    if budget is not None and not isinstance(budget, Budget):
        raise BadInput(f"budget is {budget!r}.", "Give a Budget, such as Budget(ram='64MB').")
    options = with_backbone(options)
    given = normalise({**options, "stream": "learner", "network": None})
    budget, own, rng = budget or Budget(), None, np.random.default_rng(given.get("seed") or 0)
    ram = None if budget.ram is None else int(budget.ram)
    front = _front(given, spec, options.get("front"), room_for(ram, budget.scope == "process"))
    spec = spec if front is None else front.spec
    network = given.pop("network") or "cnn" if network is None else network
    if network == TAIL and front is not None:
        network, called = front.front.tail(classes), TAIL
    if not isinstance(network, (str, Path)):
        own = resolve_network(network, spec, classes, None if called else options.get("norm"), rng)
        called = called or own.label
    given["network"] = called or str(network)
    if budget.flash_writes_per_day is not None:
        given["flash_writes_per_day"] = int(budget.flash_writes_per_day)
    if budget.flash is not None and given.get("store") is not None:
        given.setdefault("store_limit", budget.flash)
    config = Config.make(given, DEFAULTS)
    method = configured_method(config)
    if not tasks and needs_tasks(method):
        raise BadInput(
            f"Method '{config.method}' works at the ends of tasks, and this stream has none.",
            "Drop tasks=False, or use a method for streams without tasks, such as er.",
        )
    own = (own or resolve_network(network, spec, classes, config.norm, rng)).frozen_below(config.freeze_below)
    if weights is not None:
        found = read_weights(weights, own.graph)
        own = Network(own.graph, {n: v.reshape(own.graph.parameters[n].shape) for n, v in found.items()}, own.about)
    free = frozenset({"memory", "batch", "predict_batch"} - set(given))
    path = None if weights is None else Path(weights)
    classes = max(classes, own.graph.classes)
    return Setup(config, own, spec, classes, buffer, budget, keep, bool(tasks), free, path, front)


def _front(given: Mapping[str, Any], raw: SampleSpec, value: Any, room: int | None) -> FrontInUse | None:
    """The front among parsed options; ``value``: as the caller gave it;  ``room``: bytes that a budget leaves it."""
    run = {**{name: about.default for name, about in OPTIONS.items()}, **DEFAULTS, **given}
    return configured_front(run["front"] or "none", arguments("front", run, given), raw, value, room)


def setup_like(setup: Setup, config: Mapping[str, Any], weights: str | None) -> Setup:
    """The setup of another learner for the same samples, without a budget.

    config : its configuration, plain values;  weights : the file its network starts from, or None
    """
    return make_setup(
        setup.network,
        {k: v for k, v in config.items() if k not in OF_RUNS and k != "network" and v is not None},
        spec=setup.raw,
        classes=setup.network.graph.classes,
        buffer=setup.buffer,
        keep=setup.keep,
        tasks=setup.tasks,
        weights=weights,
        called=str(config["network"]),
    )


def setup_from(saved: Mapping[str, Any], options: Mapping[str, Any], budget: Budget | None = None) -> Setup:
    """The setup of a saved learner (its state's ``learner``). ``options``: of its configuration, as they hold now."""
    about = saved["spec"]
    mean, std = (None if about[k] is None else tuple(about[k]) for k in ("mean", "std"))
    spec = sample_spec(tuple(about["shape"]), about["dtype"], mean, std)
    raw = spec
    if saved.get("front") is not None:
        front = saved_front(saved["front"])
        options = {**options, "front": front}
        raw = sample_spec(front.raw_shape, front.raw_dtype, mean, std)
    named, classes = str(options.get("network", "cnn")), int(saved["classes"])
    network: str | Network = named
    if saved.get("network") is not None:
        network = Network.from_state(saved["network"])
    else:  # saved before networks travelled: as its builder makes it, as wide as it was first
        first = int(saved.get("calls", saved)["classes"])
        network = resolve_network(named, spec, first, options.get("norm"))
    setup = make_setup(
        network,
        {k: v for k, v in options.items() if k not in OF_RUNS and k != "network" and v is not None},
        spec=raw,
        classes=network.graph.classes,
        buffer=int(saved["buffer"]),
        budget=budget,
        keep=int(saved.get("keep_checkpoints", 0)),
        tasks=bool(saved.get("tasks", True)),
        called=named,
    )
    return replace(setup, classes=max(classes, setup.classes))
