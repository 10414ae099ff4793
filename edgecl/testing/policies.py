"""check_policy: does a sparsity policy keep the contract? Run it in the tests of your own policy."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from ..errors import BadInput, require
from ..sparsity import Look, SparsityPolicy
from .policy_memory import growth_of_moves
from .policy_run import PolicyRun, Setting
from .policy_watch import WatchedRun, broken_contract, same_pattern

Array = np.ndarray
MakePolicy = Callable[[], SparsityPolicy]
LENGTHS = (10, 20, 50, 200)  # epochs of the shortest tasks on which a schedule may fire
FLIPS = 2  # weights by which a pattern may differ between engines: one pair whose scores rounding exchanged
MB = 1_000_000


def check_policy(
    make_policy: MakePolicy,
    engines: Sequence[str] = ("native", "torch"),
    *,
    density: float = 0.25,
    tasks: int = 2,
    memory: bool = False,
) -> None:
    """Train small networks with the policies that ``make_policy()`` returns. Raises AssertionError, saying what broke,
    where, and where to read, unless

    - it declares what it is and can be made again from its `options`;
    - a task too short for its schedule is refused by `check`;
    - after every move the density is exactly what the move says, never above `peak_density`, and at the end of every
      task `final_density`; a weight that comes starts at 0 without optimizer state, also one that left in the same
      move; a weight that stays keeps value and optimizer state; patterns change through `Moves` alone;
    - the same seed gives the same bits, and the engines the same patterns and FLOPs;
    - saved and resumed at any moment, also in a phase, it goes on bit by bit;
    - what is kept between steps stays within the planned bytes;
    - with ``memory``: on a tensor of 4 million weights at density .05 the resident set grows by no more than planned,
      and by no buffer of the dense size unless `peak_density` is 1 (about 20 s, Linux).

    Parameters
    ----------
    make_policy : returns a new policy each time
    engines : of those that are to agree; ``torch`` needs torch
    density, tasks : of the trainings
    """
    policy = _declared(make_policy, density)
    epochs = _length(policy)
    usual = Setting(tasks=tasks, epochs=epochs, density=density)
    settings = (
        usual,
        replace(usual, gradient_keep=0.6, replay_forward="separate"),
        replace(usual, net="cnn", micro_batch=5),
    )
    with one_thread(engines):
        _short_tasks_are_refused(make_policy, usual)
        for i, kind in enumerate(engines):
            for setting in settings if i == 0 else settings[:1]:
                _resumes_bit_by_bit(make_policy, kind, setting)
        for one, other in pairwise(engines):
            for setting in settings:
                _engines_agree(make_policy, one, other, setting)
    if memory:
        _moves_within_the_plan(make_policy)


@contextmanager
def one_thread(engines: Sequence[str]) -> Iterator[None]:
    """Threads of torch cost these small networks more than they gain."""
    if "torch" not in engines:
        yield
        return
    torch = require("torch", "torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# -- what it is


def _declared(make_policy: MakePolicy, density: float) -> SparsityPolicy:
    policy = make_policy()
    if not isinstance(policy, SparsityPolicy):
        raise AssertionError(f"{policy!r} is no SparsityPolicy. Read edgecl.sparsity.SparsityPolicy.")
    if not policy.name:
        raise AssertionError(f"{type(policy).__name__} has no name. Read edgecl.sparsity.SparsityPolicy.")
    if policy.contract != SparsityPolicy.contract:
        raise broken_contract(
            policy, f"has contract {policy.contract}, this version {SparsityPolicy.contract}", "contract"
        )
    options = policy.options()
    try:
        json.dumps(options)
    except TypeError as error:
        raise broken_contract(policy, f"has options that are no plain values: {error}", "options") from error
    try:
        again = type(policy)(**options)
    except (TypeError, BadInput) as error:
        raise broken_contract(policy, f"cannot be made again from its options {options}: {error}", "options") from error
    if again.options() != options:
        raise broken_contract(policy, f"made again from {options} has the options {again.options()}", "options")
    if not all(isinstance(look, Look) for look in policy.looks):
        raise broken_contract(policy, f"declares looks {policy.looks}", "looks")
    for name in ("start_density", "peak_density", "training_density"):
        found = getattr(policy, name)(density)
        if not 0.0 < found <= 1.0:
            raise broken_contract(policy, f"says {name}({density}) = {found}", name)
    if policy.peak_density(density) < max(density, policy.start_density(density)):
        raise broken_contract(policy, "has a peak density below the density it starts or trains at", "peak_density")
    return policy


def _length(policy: SparsityPolicy) -> int:
    """Epochs of the shortest task that the policy does not refuse."""
    for epochs in LENGTHS:
        try:
            policy.check(epochs, epochs * Setting.epoch_steps)
        except BadInput:
            continue
        return epochs
    steps = LENGTHS[-1] * Setting.epoch_steps
    raise broken_contract(
        policy, f"refuses even a task of {LENGTHS[-1]} epochs, {steps} steps; check a livelier one", "check"
    )


def _short_tasks_are_refused(make_policy: MakePolicy, usual: Setting) -> None:
    for epochs, epoch_steps in ((1, 1), (1, 3), (2, 6), (usual.epochs, usual.epoch_steps)):
        policy = make_policy()
        try:
            policy.check(epochs, epochs * epoch_steps)
        except BadInput:
            continue
        run = WatchedRun(policy, "native", replace(usual, tasks=2, epochs=epochs, epoch_steps=epoch_steps))
        run.finish()
        if policy.moves and not run.changes:
            raise broken_contract(
                policy,
                f"accepts a task of {epochs} epochs and {epochs * epoch_steps} steps and then moves no weight",
                "check",
            )


# -- what it does


def _resumes_bit_by_bit(make_policy: MakePolicy, kind: str, setting: Setting) -> None:
    """One watched run, a second with the same seed, and a third that goes on from each of the first one's states."""
    first = WatchedRun(make_policy(), kind, setting)
    every = max(1, setting.tasks * setting.epochs * setting.epoch_steps // 5)
    saved, step, was_in_phase = [(0, first.at, first.state())], 0, False
    while first.advance():
        step += 1
        in_phase = bool(first.segments) and first.segments[0].phase is not None
        if step % every == 0 or (in_phase and not was_in_phase):
            saved.append((step, first.at, first.state()))
        was_in_phase = in_phase
    saved.append((step, first.at, first.state()))
    again = WatchedRun(make_policy(), kind, setting)
    again.finish()
    if where := _difference(saved[-1][2], again.state()):
        raise first.broken(f"the same seed gives other bits the second time ({where})", "move")
    for (start, at, state), (stop, _, wanted) in pairwise(saved):
        resumed = WatchedRun(make_policy(), kind, setting, seed=9)
        resumed.load(state)
        for _ in range(stop - start):
            resumed.advance()
        if where := _difference(wanted, resumed.state()):
            first.at = at
            raise first.broken(f"saved here and resumed, other bits {stop - start} steps later ({where})", "state")


def _engines_agree(make_policy: MakePolicy, kind: str, other_kind: str, setting: Setting) -> None:
    """Step by step from the same weights, each engine with the evidence of its own."""
    one, other = WatchedRun(make_policy(), kind, setting), WatchedRun(make_policy(), other_kind, setting)
    while one.advance():
        other.advance()
        for name in one.sparse.densities:
            a, b = one.engine.model[name].pattern, other.engine.model[name].pattern
            differ = 0 if same_pattern(a, b) else np.setxor1d(_positions(a, one, name), _positions(b, one, name)).size
            if differ > FLIPS:
                raise one.broken(f"{differ} weights of '{name}' live on one engine and not on the other", "move")
        other.engine.load(one.engine.state())
    meters, others = one.engine.meters, other.engine.meters
    for what in ("forward_flops", "backward_flops"):
        if getattr(meters, what) != getattr(others, what):
            raise one.broken(f"{what} are {getattr(meters, what)}, on {other_kind} {getattr(others, what)}", "passes")


def _moves_within_the_plan(make_policy: MakePolicy) -> None:
    """On a tensor of 4 million weights, native engine."""
    policy = make_policy()
    found = growth_of_moves(make_policy, _length(policy))
    if found.measured > 1.05 * found.planned + MB:
        raise broken_contract(
            policy,
            f"took {found.measured / MB:.1f} MB beside weights and gradients, planned are {found.planned / MB:.1f} MB",
            "kept_bytes",
        )
    if policy.peak_density(0.05) < 0.5 and found.measured >= found.dense:
        raise broken_contract(
            policy,
            f"took {found.measured / MB:.1f} MB, as much as a dense tensor ({found.dense / MB:.1f} MB)",
            "peak_density",
        )


def _difference(one: dict[str, Any], other: dict[str, Any]) -> str | None:
    """The name of what differs in two runs' states, or None."""
    for part in ("engine", "sparse"):
        a, b = one[part], other[part]
        odd = sorted(set(a) ^ set(b)) or sorted(n for n in a if not np.array_equal(a[n], b[n]))
        if odd:
            return odd[0]
    return None if one["rng"] == other["rng"] else "the generator"


def _positions(pattern: Array | None, run: PolicyRun, name: str) -> Array:
    return np.arange(run.engine.model[name].spec.size) if pattern is None else pattern
