"""From a configuration to the parts of a trainer: graph, plan, engine, method, memory, store, carousel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..budget.miro import HELD_OUT, LARGEST_REDUCTION, LEAST, REDUCTION, SHARES
from ..budget.planner import PREDICT_BATCH, RunPlan
from ..compiler import Optimizer, Plan
from ..config import Config
from ..data import get_augmentation
from ..engine.model import Model, Parameter
from ..engine.select import compile_for, make_engine
from ..errors import BadInput, EdgeclError
from ..graph import Graph
from ..graph.builders import build
from ..methods import METHODS, Method
from ..methods.memory_policies import MEMORY_POLICIES
from ..sparsity import SparseTraining, make_sparse_training
from ..storage import Carousel, EpisodicMemory, FieldSpec, RootKey, SampleStore, StreamSchema
from ..storage.errors import StoreError
from ..storage.layout import Description
from .ledger import Ledger
from .randomness import Randomness
from .trainer import Parts, micro_batch

APPEND = 256  # samples appended to the store at a time
STAGES = 256  # exchanges on their way at most
SWAP_MODES = {"wait": "exact", "drop": "live"}  # `Config.late_swaps` as the carousel calls it
STORE_BYTES = 600_000  # pages of LMDB and of the store's code, a mover's stack: measured, see tests
OTHER_BYTES = 1_750_000  # allocator slack, small arrays and code pages of the first step: measured, see tests


@dataclass(frozen=True)
class SampleSpec:
    """What the graph's input looks like.

    shape (C, H, W); dtype 'uint8' or 'float32'; kind 'image' or 'signal'; mean, std per channel in raw units
    """

    shape: tuple[int, int, int]
    dtype: str
    kind: str
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @property
    def bytes(self) -> int:
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


def make_graph(config: Config, spec: SampleSpec, classes: int) -> Graph:
    return build(
        config.network,
        spec.shape,
        classes,
        input_dtype=spec.dtype,
        mean=spec.mean,
        std=spec.std,
        norm=config.norm,
    )


def configured_method(config: Config) -> Method:
    """The method, with its options."""
    return METHODS.get(config.method)(**config.of("method"))


def configured_sparsity(config: Config, graph: Graph) -> SparseTraining:
    return make_sparse_training(
        graph,
        sparsity=config.sparsity,
        mask=config.sparsity_policy,
        gradient_keep=config.gradient_keep,
        form=config.sparse_schedule,
        allocation=config.allocation,
    )


def memory_slots(config: Config, method: Method) -> int:
    """Slots the method will use; 0 when it does not replay."""
    if not method.needs.draws:
        return 0
    if config.memory < 1:
        raise BadInput(f"Method '{config.method}' replays from a memory of 0 slots.", "Give --memory at least 1.")
    return config.memory


def schema_of(spec: SampleSpec, method: Method, width: int) -> StreamSchema:
    fields = {"logits": FieldSpec("float16", width)} if "logits" in method.needs.fields else {}
    return StreamSchema(spec.shape, spec.dtype, fields)


def engine_plan(config: Config, graph: Graph, method: Method, sparse: SparseTraining) -> Plan:
    """The engine's plan: largest forward, highest densities of the schedule."""
    rows = method.needs.rows(config.batch, config.replay_rows, config.replay_forward, micro_batch(config))
    return compile_for(
        config.engine,
        graph,
        batch=rows,
        predict_batch=min(rows, config.predict_batch or PREDICT_BATCH),
        densities=sparse.max_densities(),
        optimizer=Optimizer(config.optimizer, config.momentum, config.weight_decay),
        threads=config.threads,
        activations="bfloat16" if config.activations == "bfloat16" else "float32",
    )


def predicted_growth(
    config: Config,
    plan: Plan,
    method: Method,
    sparse: SparseTraining,
    spec: SampleSpec,
    classes: int,
    samples: int,
) -> dict[str, int]:
    """Bytes by purpose that a run adds to the resident set. ``samples``: the largest task's."""
    slots = memory_slots(config, method)
    draws = method.needs.draws
    width = 2 * classes if "logits" in method.needs.fields else 0
    rows = config.batch + draws * config.replay_rows
    return {
        **plan.memory,
        "sparse_training": sparse.extra_bytes()
        + sparse.passing_bytes({p.name: p.size for p in plan.graph.parameters.values() if p.trained}),
        "memory": slots * (spec.bytes + width + 40),
        "batch": 3 * rows * spec.bytes + 4 * rows * classes * 8,
        "evaluation": plan.predict_batch * spec.bytes,
        "task_index": samples * (40 + (33 if config.remove else 0)),
        "store": 0 if config.store is None else _store_bytes(config, spec.bytes + width, draws, samples),
        "checkpoint": 0 if config.out is None else _state_bytes(plan, sparse) + slots * (spec.bytes + width + 40),
        "miro": 0 if config.miro is None else _trial_bytes(config, plan, sparse, spec, classes, samples),
        "other": OTHER_BYTES,
    }


def _store_bytes(config: Config, record: int, draws: int, samples: int) -> int:
    """Index and writer, one piece of the stream on its way to flash (as read and as packed), and the staging
    buffers of the carousel that fill before the first exchange.
    """
    staged = min(STAGES, (config.latency + 1) * draws * config.replay_rows)
    return STORE_BYTES + 8 * samples + (2 * APPEND + staged) * record


def _trial_bytes(
    config: Config, plan: Plan, sparse: SparseTraining, spec: SampleSpec, classes: int, samples: int
) -> int:
    """Two copies of the model's state, the reduced task and memory, and the samples that score a trial: at most."""
    held_out = max(HELD_OUT, classes)
    scale = min(LARGEST_REDUCTION, max(REDUCTION, LEAST * classes / (min(SHARES) * samples)))
    trial = int(scale * (samples + config.memory)) + classes
    return 2 * _state_bytes(plan, sparse) + (trial + held_out) * (spec.bytes + 48)


def _state_bytes(plan: Plan, sparse: SparseTraining) -> int:
    """Bytes of the weights and optimizer state as a checkpoint gathers them."""
    moments = len(plan.optimizer.moments())
    total = 0
    for p in plan.graph.parameters.values():
        living = int(p.size * sparse.max_densities().get(p.name, 1.0))
        total += 4 * living * (1 + moments) + (4 * living if living < p.size else 0)
    return total


def build_parts(
    plan: RunPlan,
    graph: Graph,
    spec: SampleSpec,
    identity: str,
    *,
    width: int | None = None,
    weights: Mapping[str, np.ndarray] | None = None,
    root_key: RootKey | None = None,
) -> Parts:
    """Everything allocated. ``identity`` names the stream: a store of another one is refused.

    width   : of the stored logits, by default the head's
    weights : dense float32 values to start from, by parameter name
    root_key : of an encrypted store
    """
    config = plan.config
    random = Randomness(config.seed)
    method = configured_method(config)
    sparse = configured_sparsity(config, graph)

    def start(parameter: Parameter) -> None:
        given = (weights or {}).get(parameter.spec.name)
        if given is not None:
            parameter.values[:] = given
        sparse.prune(parameter)

    model = Model(graph, random["init"], start)
    engine = make_engine(model, plan.plan, config.engine, random["dropout"])
    slots = memory_slots(config, method)
    schema = schema_of(spec, method, graph.classes if width is None else width)
    memory = EpisodicMemory(slots, schema) if slots else None
    augment = None
    if config.augment != "none":
        augment = get_augmentation(config.augment, spec.kind, spec.shape)
    policy = None if memory is None else MEMORY_POLICIES.get(config.memory_policy)(**config.of("memory_policy"))
    ledger = Ledger(graph, sparse.gradient_keep, method.needs.draws, config.replay_rows)
    # last: nothing that a user can get wrong comes after the store is open
    store = None if config.store is None else open_store(config, schema, identity, root_key)
    carousel = None
    if store is not None and memory is not None and config.gate_name != "none":
        mode = SWAP_MODES[config.late_swaps]
        carousel = Carousel(
            store, memory, latency=config.latency, mode=mode, queue=STAGES, beside=config.threads
        )
    return Parts(
        config=config,
        engine=engine,
        method=method,
        sparse=sparse,
        random=random,
        ledger=ledger,
        augment=augment,
        memory=memory,
        policy=policy,
        store=store,
        carousel=carousel,
    )


def open_store(
    config: Config, schema: StreamSchema, identity: str, root_key: RootKey | None = None
) -> SampleStore:
    """The store, made when new; one of another stream is refused."""
    assert config.store is not None
    limits: dict[str, Any] = {}
    if isinstance(config.store_limit, str):
        limits["limit_samples"] = int(config.store_limit.split()[0])
    elif config.store_limit is not None:
        limits["limit_bytes"] = config.store_limit
    limits["daily_write_budget"] = config.flash_writes_per_day
    path = Path(config.store)
    if path.exists() and not path.is_dir():
        raise BadInput(f"The store '{path}' is a file.", "Give a folder.")
    try:
        store = SampleStore(path, schema, durability=config.durability, root_key=root_key, **limits)
        try:
            found = store.meta_get("stream")
            if found is None:
                store.meta_set({"stream": identity.encode()})
            elif found.decode() != identity:
                raise BadInput(
                    f"The store '{path}' belongs to another stream.", "Choose another folder for this stream."
                )
        except BaseException:
            store.close()
            raise
    except StoreError as error:
        raise EdgeclError(error.cause, error.remedy) from error
    except OSError as error:
        raise BadInput(
            f"The store '{path}' cannot be opened: {error.strerror or error}.",
            "Choose a folder you may write to.",
        ) from error
    return store


def holds_store(path: str | Path) -> bool:
    """Whether there is a store in a folder; the empty one on which a card is mounted holds none."""
    try:
        return Description.read(Path(path)) is not None
    except StoreError as error:
        raise EdgeclError(error.cause, error.remedy) from error


def close_parts(parts: Parts) -> None:
    """Stop movers, close the store."""
    if parts.carousel is not None:
        parts.carousel.close()
    if parts.store is not None:
        parts.store.close()
