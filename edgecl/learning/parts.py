"""From a plan to the parts of a trainer: engine, method, memory, store, carousel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..budget.planner import RunPlan
from ..config import Config
from ..data import get_augmentation
from ..engine.model import Model, Parameter
from ..engine.select import make_engine
from ..errors import BadInput, EdgeclError
from ..intake.front import FrontInUse
from ..intake.spec import SampleSpec
from ..methods.memory_policies import MEMORY_POLICIES
from ..network import Network
from ..planning.configured import configured_method, configured_sparsity, memory_slots, schema_of
from ..planning.memory import MOST_PENDING_SWAPS
from ..storage import Carousel, EpisodicMemory, RootKey, SampleStore, StreamSchema
from ..storage.errors import StoreError
from ..storage.layout import Description
from .ledger import Ledger
from .randomness import Randomness
from .wiring import Parts

SWAP_MODES = {"wait": "exact", "drop": "live"}  # `Config.late_swaps` as the carousel calls it


def build_parts(
    plan: RunPlan,
    network: Network,
    spec: SampleSpec,
    identity: str,
    *,
    width: int | None = None,
    root_key: RootKey | None = None,
    front: FrontInUse | None = None,
) -> Parts:
    """Everything allocated. ``identity`` names the stream: a store of another one is refused.

    width   : of stored logits, by default the head's
    root_key : of an encrypted store
    """
    config, graph = plan.config, network.graph
    random = Randomness(config.seed)
    method = configured_method(config)
    sparse = configured_sparsity(config, graph)

    def start(parameter: Parameter) -> None:
        given = network.weights.get(parameter.spec.name)
        if given is not None:
            parameter.values[:] = given.reshape(-1)
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
    ledger = Ledger(graph, sparse.gradient_keep, method.needs.draws, config.replay_rows, plan.plan.extras.trains)
    # last: nothing that a user can get wrong comes after the store is open
    store = None if config.store is None else open_store(config, schema, identity, root_key, front)
    carousel = None
    if store is not None and memory is not None and config.gate_name != "none":
        mode = SWAP_MODES[config.late_swaps]
        carousel = Carousel(
            store, memory, latency=config.latency, mode=mode, queue=MOST_PENDING_SWAPS, beside=config.threads
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
        front=front,
    )


def open_store(
    config: Config,
    schema: StreamSchema,
    identity: str,
    root_key: RootKey | None = None,
    front: FrontInUse | None = None,
) -> SampleStore:
    """The store, made when new; one of another stream, or filled through another front, is refused."""
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
                about = {} if front is None else {"front": json.dumps(front.front.about()).encode()}
                store.meta_set({"stream": identity.encode(), **about})
            elif found.decode() != identity:
                raise BadInput(
                    f"The store '{path}' belongs to another stream.", "Choose another folder for this stream."
                )
            else:
                check_front_of(store, path, front)
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


def check_front_of(store: SampleStore, path: Path, front: FrontInUse | None) -> None:
    """Raise `BadInput` where a store was filled through another front than ``front``, or another version of it."""
    noted = store.meta_get("front")
    then = None if noted is None else json.loads(noted)
    now = None if front is None else front.front.about()
    if (then and then["digest"]) == (now and now["digest"]):
        return

    def words(about: dict[str, Any] | None) -> str:
        if about is None:
            return "no front"
        options = ", ".join(f"{k}={v}" for k, v in about["options"].items())
        return f"the front {about['name']}({options}) version {about['version']}, digest {about['digest'][:12]}"

    raise BadInput(
        f"The store '{path}' was filled through {words(then)}, and would be opened with {words(now)}.",
        "Use that front with its options and version, or choose another folder and give the samples again.",
    )


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
