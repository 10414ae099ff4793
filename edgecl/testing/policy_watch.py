"""WatchedRun: a `PolicyRun` that looks at every move of its policy and tells what broke."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import BadInput, EdgeclError
from ..sparsity import Moves, SparsityPolicy, exact_count
from .policy_run import PolicyRun, Setting

Array = np.ndarray


class WatchedRun(PolicyRun):
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
        return broken_contract(self.policy, what, where, f" on the {self.kind} engine, {self.at}")

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
                if not same_pattern(old, p.pattern):
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


def broken_contract(policy: SparsityPolicy, what: str, where: str, at: str = "") -> AssertionError:
    return AssertionError(f"Policy '{policy.name}'{at}: {what}. Read edgecl.sparsity.SparsityPolicy.{where}.")


def same_pattern(a: Array | None, b: Array | None) -> bool:
    return a is b if a is None or b is None else np.array_equal(a, b)
