"""Which samples there are: by id, class and subject, at a cost that does not grow with their number."""

from __future__ import annotations

import numpy as np

from .core import StoreCore


class Access(StoreCore):
    """Counts and ids of the live samples."""

    @property
    def id(self) -> str:
        """Tells this store from every other one; 32 hexadecimal digits, drawn when it was made."""
        return self._description.store.hex()

    @property
    def next_id(self) -> int:
        """The id the next new sample gets."""
        self._here()
        return self._index.next_id

    @property
    def count(self) -> int:
        """Number of live samples."""
        self._here()
        return self._index.count

    def classes(self) -> list[int]:
        """Classes with live samples, ascending."""
        self._here()
        return self._index.classes()

    def count_of(self, cls: int) -> int:
        """Number of live samples of a class."""
        self._here()
        return self._index.count_of(cls)

    def ids_of_class(self, cls: int) -> np.ndarray:
        """Live ids of a class, ascending, int64."""
        self._here()
        return self._index.ids_of_class(cls)

    def kth(self, cls: int, k: int) -> int:
        """The k-th (from 0, oldest first) live id of a class, in constant time; -1 beyond."""
        self._here()
        return self._index.kth(cls, k)

    def subjects(self) -> list[int]:
        """Subjects that ever had a sample here."""
        self._here()
        return self._index.subjects()

    def ids_of_subject(self, subject: int) -> np.ndarray:
        """Live ids of a subject, ascending, int64."""
        self._here()
        return self._index.ids_of_subject(subject)

    def kth_oldest(self, k: int) -> int:
        """The k-th (from 0) live id by age, whatever its class; -1 beyond. Logarithmic in the number of ids."""
        self._here()
        return self._index.kth_of_all(k)

    def older_than(self, id_: int) -> int:
        """How many live samples arrived before ``id_``."""
        self._here()
        return self._index.rank(id_)

    def newest(self, n: int) -> np.ndarray:
        """The n newest live ids, newest first, int64."""
        count = self.count
        return np.array([self.kth_oldest(k) for k in range(count - 1, max(-1, count - 1 - n), -1)], np.int64)
