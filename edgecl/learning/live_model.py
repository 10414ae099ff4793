"""LiveModel: the weights of a learner as they are now: which they are, kept aside, gone back to, taken away."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from ..errors import BadInput
from ..graph import Graph
from ..network import Network
from .core import Core

Array = np.ndarray


class Diary(Protocol):
    """What must know that the weights did not come from the calls it noted."""

    @property
    def calls(self) -> Any: ...


class LiveModel:
    """Weights, pattern, optimizer and what the method keeps; not samples, memory, labels or store.

    core, diary : of the learner;  work : held by whatever trains
    """

    def __init__(self, core: Core, diary: Diary, work: threading.RLock) -> None:
        self._core, self._diary, self._work = core, diary, work

    @property
    def steps(self) -> int:
        """Training steps that the learner has done; going back does not lower it."""
        return self._core.trainer.steps

    @property
    def graph(self) -> Graph:
        """The network as it is now, without its weights."""
        return self._core.parts.engine.model.graph

    def state(self) -> dict[str, Any]:
        """Copies of everything, plain values and arrays: what `load` goes back to. Waits for a running `learn`."""
        with self._work:
            p = self._core.parts
            return {
                "classes": self._core.classes,
                "steps": self.steps,
                "engine": p.engine.state(),
                "sparse": p.sparse.state(),
                "method": p.method.state(),
            }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state` returned. Units that the head got since keep their weights. Waits for a running
        `learn`; a repetition of calls (`retrain_without`) can start from later states only.

        Raises `BadInput`, with nothing changed, for a state that does not fit.
        """
        with self._work:
            core, p = self._core, self._core.parts
            now = {"engine": p.engine.state(), "sparse": p.sparse.state(), "method": p.method.state()}
            engine = dict(state["engine"])
            if int(state["classes"]) != core.classes:
                engine = _with_new_rows(engine, now["engine"])
            try:
                self._put({"engine": engine, "sparse": state["sparse"], "method": state["method"]})
            except (ValueError, KeyError, IndexError, TypeError) as error:
                self._put(now)
                if isinstance(error, BadInput):
                    raise
                raise BadInput(f"The kept model does not fit: {error}.", "Keep another one.") from error
            self._diary.calls.cut()

    def _put(self, state: Mapping[str, Any]) -> None:
        p = self._core.parts
        p.engine.load(state["engine"])
        p.method.load(state["method"])
        p.sparse.load(state["sparse"])

    def network(self) -> Network:
        """Graph and weights as they are now, in their full shape. Waits for a running `learn`."""
        with self._work:
            model = self._core.parts.engine.model
            return Network(model.graph, {n: p.dense().copy() for n, p in model.parameters.items()})


def _with_new_rows(old: dict[str, Array], now: Mapping[str, Array]) -> dict[str, Array]:
    """Arrays of a narrower head, lengthened by what the present one has beyond them; optimizer state there is zero."""
    found = {}
    for key, values in old.items():
        longer = now.get(key)
        name = key.rpartition("/")[2] if "/moment/" not in key and "/per_weight/" not in key else "zero"
        if longer is not None and longer.size > values.size and name in ("values", "zero"):
            if f"{key.partition('/')[0]}/pattern" in old:
                raise BadInput("The head is sparse and has grown since the model was kept.", "Keep another one.")
            tail = longer[values.size :] if name == "values" else np.zeros(longer.size - values.size, values.dtype)
            values = np.concatenate([values, tail])
        found[key] = values
    return found
