"""check_policy: does a sparsity policy keep the contract? Run it in the tests of your own policy."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from ..errors import BadInput, EdgeclError, require
from ..sparsity import Look, Moves, SparsityPolicy, exact_count
from .policy_memory import growth_of_moves
from .policy_run import PolicyRun, Setting

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
        raise _broken(policy, f"has contract {policy.contract}, this version {SparsityPolicy.contract}", "contract")
    options = policy.options()
    try:
        json.dumps(options)
    except TypeError as error:
        raise _broken(policy, f"has options that are no plain values: {error}", "options") from error
    try:
        again = type(policy)(**options)
    except TypeError as error:
        raise _broken(policy, f"cannot be made again from its options {options}: {error}", "options") from error
    if again.options() != options:
        raise _broken(policy, f"made again from {options} has the options {again.options()}", "options")
    if not all(isinstance(look, Look) for look in policy.looks):
        raise _broken(policy, f"declares looks {policy.looks}", "looks")
    for name in ("start_density", "peak_density", "training_density"):
        found = getattr(policy, name)(density)
        if not 0.0 < found <= 1.0:
            raise _broken(policy, f"says {name}({density}) = {found}", name)
    if policy.peak_density(density) < max(density, policy.start_density(density)):
        raise _broken(policy, "has a peak density below the density it starts or trains at", "peak_density")
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
    raise _broken(policy, f"refuses even a task of {LENGTHS[-1]} epochs, {steps} steps; check a livelier one", "check")


def _short_tasks_are_refused(make_policy: MakePolicy, usual: Setting) -> None:
    for epochs, epoch_steps in ((1, 1), (1, 3), (2, 6), (usual.epochs, usual.epoch_steps)):
        policy = make_policy()
        try:
            policy.check(epochs, epochs * epoch_steps)
        except BadInput:
            continue
        run = _Watched(policy, "native", replace(usual, tasks=2, epochs=epochs, epoch_steps=epoch_steps))
        run.finish()
        if policy.moves and not run.changes:
            raise _broken(
                policy,
                f"accepts a task of {epochs} epochs and {epochs * epoch_steps} steps and then moves no weight",
                "check",
            )


# -- what it does


class _Watched(PolicyRun):
    """A run that looks at every move. changes : patterns changed so far"""

    def __init__(self, policy: SparsityPolicy, kind: str, setting: Setting, seed: int = 0) -> None:
        self.policy, self.kind, self.changes = policy, kind, 0
        self._moves: Moves | None = None
        self._before: dict[str, Any] | None = None
        move, begin, end = policy.move, policy.begin_task, policy.end_task

        def moved(*given: Any) -> Moves | None:
            self._before = self._look()
            self._moves = move(*given)
            return self._moves

        def at_border(hook: Callable[..., Any]) -> Callable[..., Any]:
            def event(c: Any) -> Any:
                def apply(moves: Moves) -> None:
                    before = self._look()
                    c.apply(moves)
                    self._compare(before, moves)
                    now.update(self._look())

                now = self._look()
                phases = hook(replace(c, apply=apply))
                self._compare(now, None)
                return phases

            return event

        policy.move, policy.begin_task, policy.end_task = moved, at_border(begin), at_border(end)  # type: ignore
        super().__init__(policy, kind, setting, seed)

    def finish(self) -> None:
        while self.advance():
            pass

    def advance(self) -> bool:
        """One step; an error of the policy's is told as what broke."""
        try:
            more = super().advance()
        except BadInput as error:
            raise self.broken(f"refused to go on: {error}", "check") from error
        except EdgeclError as error:
            raise self.broken(str(error), "move") from error
        except ValueError as error:
            if "read-only" in str(error):
                raise self.broken("wrote into a tensor it was shown", "move") from error
            raise
        kept = sum(a.nbytes for a in self.sparse.state().values())
        if kept > self.sparse.extra_bytes() + 64:
            raise self.broken(
                f"{kept} bytes are kept between steps, {self.sparse.extra_bytes()} are planned", "kept_bytes"
            )
        return more

    def after_move(self) -> None:
        if self._before is not None:
            self._compare(self._before, self._moves)
        self._before = self._moves = None

    def border(self) -> None:
        if self.begun and self.ended:
            for name, density in self.sparse.densities.items():
                p = self.engine.model[name]
                wanted = exact_count(self.policy.final_density(density, self.task), p.spec.size)
                if p.living != wanted:
                    self.at = f"at the end of task {self.task + 1}"
                    raise self.broken(f"{p.living} weights of '{name}' live, its density is {wanted}", "final_density")
        super().border()

    def broken(self, what: str, where: str) -> AssertionError:
        return _broken(self.policy, what, where, f" on the {self.kind} engine, {self.at}")

    def _look(self) -> dict[str, tuple[Array | None, Array, dict[str, Array]]]:
        """Pattern, and values and optimizer state in dense form, of every sparse tensor."""
        found = {}
        for name in self.sparse.densities:
            p = self.engine.model[name]
            moments = {m: p.dense(a).ravel().copy() for m, a in p.moments.items()}
            found[name] = (None if p.pattern is None else p.pattern.copy(), p.dense().ravel().copy(), moments)
        return found

    def _compare(self, before: dict[str, Any], moves: Moves | None) -> None:
        for name, (old, values, moments) in before.items():
            p = self.engine.model[name]
            change = None if moves is None or p.frozen else moves.changes.get(name)
            if change is None:
                if not _same(old, p.pattern):
                    raise self.broken(f"the pattern of '{name}' changed, and no Moves said so", "move")
                stays, comes = np.ones(p.spec.size, bool), np.zeros(0, np.int32)
            else:
                self.changes += 1
                wanted = exact_count(change.to, p.spec.size)
                if p.living != wanted:
                    raise self.broken(f"'{name}' has {p.living} weights, density {change.to:.6g} is {wanted}", "move")
                comes = np.zeros(0, np.int32) if change.grown is None else change.grown
                stays = np.zeros(p.spec.size, bool)
                stays[slice(None) if p.pattern is None else p.pattern] = True
                stays[comes] = False
            now = [("value", values, p.dense().ravel())]
            now += [(m, a, p.dense(p.moments[m]).ravel()) for m, a in moments.items()]
            for what, was, found in now:
                if not np.array_equal(was[stays], found[stays]):
                    raise self.broken(f"a weight of '{name}' that stays has lost its {what}", "move")
                if np.any(found[comes]):
                    raise self.broken(f"a weight of '{name}' that comes does not start with {what} 0", "move")


def _resumes_bit_by_bit(make_policy: MakePolicy, kind: str, setting: Setting) -> None:
    """One watched run, a second with the same seed, and a third that goes on from each of the first one's states."""
    first = _Watched(make_policy(), kind, setting)
    every = max(1, setting.tasks * setting.epochs * setting.epoch_steps // 5)
    saved, step, was_in_phase = [(0, first.at, first.state())], 0, False
    while first.advance():
        step += 1
        in_phase = bool(first.segments) and first.segments[0].phase is not None
        if step % every == 0 or (in_phase and not was_in_phase):
            saved.append((step, first.at, first.state()))
        was_in_phase = in_phase
    saved.append((step, first.at, first.state()))
    again = _Watched(make_policy(), kind, setting)
    again.finish()
    if where := _difference(saved[-1][2], again.state()):
        raise first.broken(f"the same seed gives other bits the second time ({where})", "move")
    for (start, at, state), (stop, _, wanted) in pairwise(saved):
        resumed = _Watched(make_policy(), kind, setting, seed=9)
        resumed.load(state)
        for _ in range(stop - start):
            resumed.advance()
        if where := _difference(wanted, resumed.state()):
            first.at = at
            raise first.broken(f"saved here and resumed, other bits {stop - start} steps later ({where})", "state")


def _engines_agree(make_policy: MakePolicy, kind: str, other_kind: str, setting: Setting) -> None:
    """Step by step from the same weights, each engine with the evidence of its own."""
    one, other = _Watched(make_policy(), kind, setting), _Watched(make_policy(), other_kind, setting)
    while one.advance():
        other.advance()
        for name in one.sparse.densities:
            a, b = one.engine.model[name].pattern, other.engine.model[name].pattern
            differ = 0 if _same(a, b) else np.setxor1d(*(_positions(p, one, name) for p in (a, b))).size
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
        raise _broken(
            policy,
            f"took {found.measured / MB:.1f} MB beside weights and gradients, planned are {found.planned / MB:.1f} MB",
            "kept_bytes",
        )
    if policy.peak_density(0.05) < 0.5 and found.measured >= found.dense:
        raise _broken(
            policy,
            f"took {found.measured / MB:.1f} MB, as much as a dense tensor ({found.dense / MB:.1f} MB)",
            "peak_density",
        )


def _broken(policy: SparsityPolicy, what: str, where: str, at: str = "") -> AssertionError:
    return AssertionError(f"Policy '{policy.name}'{at}: {what}. Read edgecl.sparsity.SparsityPolicy.{where}.")


def _difference(one: dict[str, Any], other: dict[str, Any]) -> str | None:
    """The name of what differs in two runs' states, or None."""
    for part in ("engine", "sparse"):
        a, b = one[part], other[part]
        odd = sorted(set(a) ^ set(b)) or sorted(n for n in a if not np.array_equal(a[n], b[n]))
        if odd:
            return odd[0]
    return None if one["rng"] == other["rng"] else "the generator"


def _same(a: Array | None, b: Array | None) -> bool:
    return a is b if a is None or b is None else np.array_equal(a, b)


def _positions(pattern: Array | None, run: PolicyRun, name: str) -> Array:
    return np.arange(run.engine.model[name].spec.size) if pattern is None else pattern
