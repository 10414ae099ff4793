"""From a configuration to what it names: method, sparse training, engine plan, layout of the samples' fields."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..budget.planner import PREDICT_BATCH
from ..compiler import Optimizer, Plan
from ..config import Config
from ..engine.select import compile_for
from ..errors import BadInput
from ..graph import Graph
from ..intake.spec import SampleSpec
from ..methods import METHODS, Method, Naive
from ..methods.memory_policies import MEMORY_POLICIES
from ..methods.needs import Needs
from ..sparsity import POLICIES, SparseTraining, make_sparse_training
from ..storage import FieldSpec, StreamSchema

KEPT_LOGITS = 1024  # widest head whose logits a learner stores


def configured_method(config: Config) -> Method:
    """The method, with its options. Raises `BadInput` where its needs contradict each other."""
    method = METHODS.get(config.method)(**config.of("method"))
    needs = method.needs
    wrong = None
    if needs.merged and needs.draws:
        wrong = "draws replay and merges it into its batches"
    elif needs.holdout and not needs.merged:
        wrong = "holds samples out without merged batches"
    elif needs.candidates and needs.draws != 1:
        wrong = f"chooses among candidates with {needs.draws} draws"
    elif needs.predict_side is not None and needs.predict_side not in needs.sides:
        wrong = f"predicts with the side '{needs.predict_side}', which it does not declare"
    elif method.ema and (needs.predict_side is not None or needs.trains == "none"):
        wrong = "predicts with weights of its own, so an average of the model's (ema) has no use"
    if wrong is not None:
        raise BadInput(f"Method '{config.method}' {wrong}.", "See edgecl.methods.Needs for what goes together.")
    if needs.trains == "none" and needs.body == "frozen" and (config.sparsity or config.gradient_keep < 1):
        raise BadInput(f"Method '{config.method}' trains nothing that a mask could be over.", "Drop --sparsity.")
    return method


def configured_sparsity(config: Config, graph: Graph) -> SparseTraining:
    policy = config.sparsity_policy
    return make_sparse_training(
        graph,
        sparsity=config.sparsity,
        mask=policy if policy == "none" else POLICIES.get(policy)(**config.of("sparsity_policy")),
        gradient_keep=config.gradient_keep,
        form=config.sparse_schedule,
        allocation=config.allocation,
        masking=config.of("gradient_keep"),
    )


def memory_slots(config: Config, method: Method) -> int:
    """Slots the method will use; 0 when it does not replay."""
    if not method.needs.memory:
        return 0
    if config.memory < 1:
        raise BadInput(f"Method '{config.method}' replays from a memory of 0 slots.", "Give --memory at least 1.")
    return config.memory


def schema_of(spec: SampleSpec, method: Method, width: int) -> StreamSchema:
    """Samples with the method's fields; ``width``: of those that have a value per class."""
    fields = {f.name: FieldSpec(f.dtype, width if f.width == "classes" else f.width) for f in method.needs.fields}
    return StreamSchema(spec.shape, spec.dtype, fields)


def needs_tasks(method: Method) -> bool:
    """Whether the method does something at the borders of tasks, so that a stream without tasks is not for it."""
    needs, cls = method.needs, type(method)
    hooks = any(getattr(cls, hook) is not getattr(Method, hook) for hook in ("begin_task", "end_task"))
    return (hooks and "task-free" not in cls.scenarios) or needs.body == "first task" or bool(needs.holdout)


def policy_fetch(config: Config) -> tuple[str, ...]:
    """Tensors of an evaluation forward that the memory policy looks at."""
    return tuple(getattr(MEMORY_POLICIES.get(config.memory_policy), "fetch", ()))


def trains_at(needs: Needs, first_task: bool) -> str:
    """What the engine's plan trains: everything while the body of a closed-form head learns."""
    return "all" if needs.body == "first task" and first_task else needs.trains


def engine_plan(
    config: Config, graph: Graph, method: Method, sparse: SparseTraining, trains: str | None = None
) -> Plan:
    """The engine's plan: largest forward, highest densities of the schedule, what the method asks for.

    trains : by default what the first task needs
    """
    needs = method.needs
    trains = trains_at(needs, True) if trains is None else trains
    rows = needs.rows(config.batch, config.replay_rows, config.replay_forward, config.micro_rows)
    return compile_for(
        config.engine,
        graph,
        batch=rows,
        predict_batch=min(rows, config.predict_batch or PREDICT_BATCH),
        densities=sparse.max_densities(),
        optimizer=Optimizer(config.optimizer, config.momentum, config.weight_decay),
        threads=config.threads,
        activations="bfloat16" if config.activations == "bfloat16" else "float32",
        fetch=tuple(dict.fromkeys(("logits", *needs.fetch))),
        predict_fetch=tuple(dict.fromkeys(("logits", *needs.predict, *needs.fetch, *policy_fetch(config)))),
        sides=method.sides,
        per_weight=needs.per_weight,
        gradient_copies=needs.gradient_copies,
        trains=trains,
    )


def body_method(config: Config) -> Method:
    """What trains the body of a closed-form head in the first task: cross-entropy on a linear head."""
    return Naive(current_loss=config.current_loss)


def field_bytes(method: Method, classes: int) -> Mapping[str, int]:
    """Bytes of each field of a sample."""
    return {
        f.name: np.dtype(f.dtype).itemsize * (classes if f.width == "classes" else f.width) for f in method.needs.fields
    }
