"""Numbers that several worker processes write and each of them can add up.

Made before the workers are forked, in memory that they share. Every worker writes a row of its
own, so nothing is locked; a worker that takes another's place goes on with its row.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator

__all__ = ["SharedValues", "ValueWriter"]

_KEY_BYTES = 248
_COUNT = struct.Struct("<Q")


class SharedValues:
    """Named numbers of several processes.

    Parameters
    ----------
    n_workers : int
        Rows, one a process.
    capacity : int
        The most names in a row; further ones are not kept.

    Examples
    --------
    >>> values = SharedValues(2)
    >>> for worker in (0, 1):
    ...     writer = values.writer(worker)
    ...     writer.add(writer.slot("answers"), 2.0)
    >>> values.totals()
    {'answers': 4.0}
    """

    def __init__(self, n_workers: int = 1, capacity: int = 2_000) -> None:
        self.n_workers = n_workers
        self.capacity = capacity
        self._row_bytes = _COUNT.size + capacity * (_KEY_BYTES + 8)
        self._memory = mmap.mmap(-1, n_workers * self._row_bytes)

    def writer(self, worker: int) -> ValueWriter:
        """Return what one process writes with.

        Parameters
        ----------
        worker : int
            Its row.
        """
        if not 0 <= worker < self.n_workers:
            raise ValueError(f"worker is {worker}: there are {self.n_workers} rows")
        start = worker * self._row_bytes
        row = memoryview(self._memory)[start : start + self._row_bytes]
        return ValueWriter(row, self.capacity)

    def totals(self) -> dict[str, float]:
        """Return the sum of every named number over all processes, by name."""
        totals: dict[str, float] = {}
        for worker in range(self.n_workers):
            for key, value in self.writer(worker).items():
                totals[key] = totals.get(key, 0.0) + value
        return totals


class ValueWriter:
    """One process's row of a `SharedValues`.

    Parameters
    ----------
    row : memoryview
        Its memory.
    capacity : int
        The most names.
    """

    def __init__(self, row: memoryview, capacity: int) -> None:
        self._count = row[: _COUNT.size]
        keys_end = _COUNT.size + capacity * _KEY_BYTES
        self._keys = row[_COUNT.size : keys_end]
        self._values = row[keys_end:].cast("d")
        self._capacity = capacity
        self._slots = {key: i for i, key in enumerate(self._stored_keys())}

    def slot(self, key: str) -> int:
        """Return the place of a name, -1 if there is no room for it.

        Parameters
        ----------
        key : str
            The name, at most 248 bytes as UTF-8.
        """
        found = self._slots.get(key)
        if found is not None:
            return found
        encoded = key.encode("utf-8", "replace")
        i = len(self._slots)
        if i >= self._capacity or len(encoded) > _KEY_BYTES:
            return -1
        self._values[i] = 0.0
        self._keys[i * _KEY_BYTES : (i + 1) * _KEY_BYTES] = encoded.ljust(_KEY_BYTES, b"\0")
        self._slots[key] = i
        # last: a reader takes the names that are counted
        _COUNT.pack_into(self._count, 0, i + 1)
        return i

    def add(self, slot: int, amount: float) -> None:
        """Add to a number.

        Parameters
        ----------
        slot : int
            Its place.
        amount : float
            What to add.
        """
        if slot >= 0:
            self._values[slot] += amount

    def set(self, slot: int, value: float) -> None:
        """Change a number.

        Parameters
        ----------
        slot : int
            Its place.
        value : float
            What it is from now on.
        """
        if slot >= 0:
            self._values[slot] = value

    def items(self) -> Iterator[tuple[str, float]]:
        """Yield the names with their numbers."""
        for i, key in enumerate(self._stored_keys()):
            yield key, self._values[i]

    def _stored_keys(self) -> list[str]:
        (count,) = _COUNT.unpack_from(self._count)
        return [
            bytes(self._keys[i * _KEY_BYTES : (i + 1) * _KEY_BYTES]).rstrip(b"\0").decode()
            for i in range(min(count, self._capacity))
        ]
