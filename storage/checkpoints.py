"""Going back to the view of a checkpoint, so that a resumed run sees what the first one saw."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .bounded import parse_json
from .errors import StoreDamaged
from .files import changes, typed
from .trusted import view
from .writing import Writing

_MARK = "edgecl.mark"


class Checkpoints(Writing):
    """The view as a value, and small values of the caller."""

    @typed
    def meta_get(self, key: str) -> bytes | None:
        """A value set with `meta_set`."""
        self._check()
        return self._db.meta(key)

    @changes
    def meta_set(self, values: Mapping[str, bytes]) -> None:
        """Sets small values in one transaction; on flash when it returns."""
        with self._lock:
            self._commit(meta=values)
            self._keep_values()

    @changes
    def set_mark(self, lineage: str, generation: int) -> None:
        """Notes that the saved state ``generation`` of a learner ``lineage`` covers all samples stored so far; on flash
        when it returns. It is the caller's to say when, after that state is.
        """
        self._flusher.flush()  # type: ignore[union-attr]
        with self._lock:
            mark = {"lineage": str(lineage), "generation": int(generation), "next_id": self.next_id}
            self._commit(meta={_MARK: json.dumps(mark).encode()})
            self._keep_values()

    @property
    def mark(self) -> dict[str, Any] | None:
        """{"lineage", "generation", "next_id": of the samples it covers} of the newest `set_mark`; None: there is
        none.
        """
        found = self.meta_get(_MARK)
        return None if found is None else dict(parse_json(found))

    @changes
    def state(self) -> dict[str, Any]:
        """The view as of now, for a checkpoint; everything in it is on flash when this returns.

        From the first call on, evicted samples stay on flash until the second next call, so that a run
        resumed from either of the two newest checkpoints sees what the first one saw.
        """
        assert self._flusher is not None
        with self._lock:
            self._cleaner.compact_fields()
            self._flusher.flush()
            self._index.pinned = True
            classes, first = self._index.get_view()
            self._pins.append((classes, first))
            if len(self._pins) > 2:
                self._pins.popleft()
            if len(self._pins) == 2:
                self._index.release(*self._pins[0])
            self._commit()
            self._cleaner.tidy()  # what was released goes now: where states come often, no seal would ask for it
            return {
                "next_id": self._index.next_id,
                "count": self._index.count,
                "classes": classes,
                "first_live": first,
                "field_no": self._field.no if self._field else 0,
                "field_end": self._field.end if self._field else 0,
                "field_epoch": self._field_epoch,
            }

    @changes
    def load(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Rewinds the view to a checkpoint. Later samples stay on flash, hidden; appending them again shows
        them.

        Returns {"missing": evicted samples of that moment whose space is already returned, "fields_exact":
        whether the fields are those of that moment}; a resumed run is bit-exact when these are 0 and True.
        Only for a run that repeats its stream: samples that differ from the hidden ones raise
        `ReplayMismatch`.
        """
        assert self._flusher is not None
        with self._lock:
            next_id, classes, first = view(state, self._index.physical_next)
            if self._index.physical_next < next_id:
                raise StoreDamaged(
                    f"The checkpoint has {state['next_id']} samples, there are {self._index.physical_next}.",
                    "Use the store that belongs to the checkpoint, or an earlier checkpoint.",
                )
            self._flusher.flush()
            self._index.pinned = True
            self._index.set_view(next_id, classes, first)
            exact = int(state["field_epoch"]) == self._field_epoch
            if exact:
                self._rewind_fields(int(state["field_no"]), int(state["field_end"]))
            self._pins.clear()
            self._pins.append((classes, first))
            self._commit()
            return {"missing": int(state["count"]) - self._index.count, "fields_exact": exact}
