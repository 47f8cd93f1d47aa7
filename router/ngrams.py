"""Hashed word and character n-grams in numpy.

Every character has a random 64-bit number; an n-gram's hash is a polynomial in them modulo
2**64 (Karp and Rabin, 1987), so that all hashes come from differences of prefix sums. Digits
all read as 0: templates matter more than numbers. No hash depends on the process, the platform
or the place in the text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.errors import ConfigError

__all__ = ["HashedNgrams", "SparseRows"]

_Hashes = NDArray[np.uint64]

_BASE = 0x9E3779B97F4A7C15
_BASE_INVERSE = pow(_BASE, -1, 2**64)
_FINISH = np.uint64(0xD6E8FEB86659FD93)
_HALF = np.uint64(32)
_MULTIPLIER = np.uint64(_BASE)
_SPACE, _WORD, _SINGLE = 0, 1, 2
# Whether a word starts, or ended, between two characters of classes a and b, at 3 * a + b.
_STARTS = np.array([0, 1, 1, 0, 0, 1, 0, 1, 1], bool)
_ENDS = np.array([0, 0, 0, 1, 0, 1, 1, 1, 1], bool)

# First code point of each stretch above ASCII, and what its characters are. Scripts that are
# written without spaces count character by character.
_STRETCHES = (
    (0x80, _SPACE),
    (0xA1, _SINGLE),
    (0xC0, _WORD),
    (0x2000, _SPACE),
    (0x200C, _SINGLE),
    (0x2028, _SPACE),
    (0x202A, _SINGLE),
    (0x2C00, _WORD),
    (0x2E80, _SINGLE),
    (0x3000, _SPACE),
    (0x3001, _SINGLE),
    (0xA4D0, _WORD),
    (0xF900, _SINGLE),
    (0xFB00, _WORD),
    (0xFE10, _SINGLE),
    (0x10000, _WORD),
    (0x1F000, _SINGLE),
)
_STRETCH_STARTS = np.array([start for start, _ in _STRETCHES], np.uint32)
_STRETCH_CLASSES = np.array([_SPACE, *(kind for _, kind in _STRETCHES)], np.uint8)


@dataclass(frozen=True, slots=True)
class SparseRows:
    """Rows of a sparse matrix (CSR).

    Attributes
    ----------
    indptr : ndarray of shape (n_rows + 1,)
        int64; row i holds entries ``indptr[i]`` to ``indptr[i + 1]``.
    indices : ndarray of shape (n_entries,)
        int32 columns, ascending within a row.
    values : ndarray of shape (n_entries,)
        float32.
    n_columns : int
        Width of the matrix.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: NDArray[np.float32]
    n_columns: int


@dataclass(frozen=True, slots=True)
class HashedNgrams:
    """Hashed bag of word and character n-grams.

    Words fill columns ``0 .. n_buckets - 1``, characters the next `n_buckets`. An entry is
    ``1 + log(count)``; each of the two blocks has unit length.

    Parameters
    ----------
    n_buckets : int
        Columns of each block, a power of two.
    word_orders : tuple of int
        Lengths of word n-grams, ascending from 1; each punctuation mark is a word.
    char_orders : tuple of int
        Lengths of character n-grams, ascending; empty for none.

    Raises
    ------
    ConfigError
        If a setting is out of range.

    Examples
    --------
    >>> rows = HashedNgrams().transform(["What is 12+34?", "What is 56+78?"])
    >>> bool((rows.indices[: rows.indptr[1]] == rows.indices[rows.indptr[1] :]).all())
    True
    """

    n_buckets: int = 2**15
    word_orders: tuple[int, ...] = (1, 2)
    char_orders: tuple[int, ...] = (3, 5)

    def __post_init__(self) -> None:
        n = self.n_buckets
        if not isinstance(n, int) or not 2 <= n <= 2**24 or n & (n - 1):
            raise ConfigError(f"n_buckets is {n!r}: use a power of two up to 2**24")
        for name in ("word_orders", "char_orders"):
            orders = getattr(self, name)
            if (
                not isinstance(orders, tuple)
                or not all(isinstance(order, int) and 1 <= order <= 8 for order in orders)
                or list(orders) != sorted(set(orders))
            ):
                raise ConfigError(f"{name} is {orders!r}: use ascending lengths from 1 to 8")

    @property
    def n_columns(self) -> int:
        """Width of the matrix."""
        return 2 * self.n_buckets

    def row(self, text: str) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return the columns and values of one text.

        Parameters
        ----------
        text : str
            The text, already capped.

        Returns
        -------
        indices : ndarray of shape (n_entries,)
            int32, ascending.
        values : ndarray of shape (n_entries,)
            float32.
        """
        hashes, n_words = self._hashes(text)
        if not len(hashes):
            return np.empty(0, np.int32), np.empty(0, np.float32)
        hashes ^= hashes >> _HALF
        hashes *= _FINISH
        hashes >>= np.uint64(65 - self.n_buckets.bit_length())
        buckets: NDArray[Any] = hashes.astype(np.uint16 if self.n_columns <= 2**16 else np.uint32)
        buckets[n_words:] += self.n_buckets
        # A radix sort for 16 bits.
        buckets.sort(kind="stable")
        last = (buckets[1:] != buckets[:-1]).nonzero()[0]
        edges = np.empty(len(last) + 2, np.int64)
        edges[0], edges[-1] = 0, len(buckets)
        np.add(last, 1, out=edges[1:-1])
        starts = edges[:-1]
        weights = _log_weights().take(np.minimum(edges[1:] - starts, _MAX_COUNT))
        split = int(starts.searchsorted(n_words))
        for block in (weights[:split], weights[split:]):
            if len(block):
                block *= 1 / math.sqrt(block.dot(block))
        return buckets.take(starts).astype(np.int32), weights.astype(np.float32)

    def transform(self, texts: Sequence[str]) -> SparseRows:
        """Return one row a text.

        Parameters
        ----------
        texts : sequence of str
            The texts, already capped.

        Returns
        -------
        SparseRows
            ``len(texts)`` rows of `n_columns` columns.
        """
        rows = [self.row(text) for text in texts]
        if len(rows) == 1:
            ((indices, values),) = rows
            return SparseRows(np.array([0, len(indices)]), indices, values, self.n_columns)
        indptr = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(indices) for indices, _ in rows], out=indptr[1:])
        return SparseRows(
            indptr=indptr,
            indices=np.concatenate([indices for indices, _ in rows] or [np.empty(0, np.int32)]),
            values=np.concatenate([values for _, values in rows] or [np.empty(0, np.float32)]),
            n_columns=self.n_columns,
        )

    def _hashes(self, text: str) -> tuple[_Hashes, int]:
        """Return the hashes of all n-grams, words first, and the number of words' hashes."""
        # The spaces mark where the text begins and ends, and start the prefix sums.
        numbers, kinds = _characters(f" {text} ")
        n = len(numbers)
        powers, inverses = _power_table(max(4096, 1 << n.bit_length()))
        sums = (numbers * powers[:n]).cumsum()
        hashes: list[_Hashes] = []
        if self.word_orders:
            turns = kinds[:-1] * np.uint8(3) + kinds[1:]
            starts = _STARTS.take(turns).nonzero()[0]
            ends = _ENDS.take(turns).nonzero()[0]
            words = (sums.take(ends) - sums.take(starts)) * inverses.take(starts)
            words ^= words >> _HALF
            words *= _FINISH
            phrase = words
            for order in range(1, self.word_orders[-1] + 1):
                if order > 1:
                    phrase = phrase[:-1] * _MULTIPLIER + words[order - 1 :]
                if order in self.word_orders:
                    hashes.append(phrase)
        n_words = sum(map(len, hashes))
        hashes += [
            (sums[order:] - sums[:-order]) * inverses[: n - order]
            for order in self.char_orders
            if order < n
        ]
        return np.concatenate(hashes) if hashes else np.empty(0, np.uint64), n_words


_MAX_COUNT = 1023


@lru_cache(maxsize=1)
def _log_weights() -> NDArray[np.float64]:
    counts = np.arange(_MAX_COUNT + 1, dtype=np.float64)
    counts[0] = 1
    return 1 + np.log(counts)


@lru_cache(maxsize=1)
def _ascii_tables() -> tuple[_Hashes, NDArray[np.uint8]]:
    """Return the random number and the class of every ASCII character."""
    folded = np.arange(128, dtype=np.uint64)
    kinds = np.full(128, _SINGLE, np.uint8)
    for code in range(128):
        char = chr(code)
        if char.isdigit():
            folded[code] = ord("0")
        elif char.isupper():
            folded[code] = ord(char.lower())
        elif not char.isprintable() and char != "\n":
            folded[code] = ord(" ")
        if char.isalnum() or char == "_":
            kinds[code] = _WORD
        elif char.isspace() or not char.isprintable():
            kinds[code] = _SPACE
    return _mix(folded), kinds


def _mix(codes: _Hashes) -> _Hashes:
    """Give each code point a random 64-bit number (the finaliser of splitmix64)."""
    x: _Hashes = (codes + np.uint64(1)) * np.uint64(_BASE)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    return x


def _characters(text: str) -> tuple[_Hashes, NDArray[np.uint8]]:
    """Return the random number and the class of every character of the text."""
    numbers, kinds = _ascii_tables()
    if text.isascii():
        codes = np.frombuffer(text.encode("ascii"), np.uint8)
        return numbers.take(codes), kinds.take(codes)
    wide = np.frombuffer(text.lower().encode("utf-32-le", "replace"), np.uint32)
    ascii_part = wide < 128
    low = np.where(ascii_part, wide, 0)
    return (
        np.where(ascii_part, numbers[low], _mix(wide.astype(np.uint64))),
        np.where(
            ascii_part,
            kinds[low],
            _STRETCH_CLASSES[np.searchsorted(_STRETCH_STARTS, wide, side="right")],
        ),
    )


@lru_cache(maxsize=4)
def _power_table(n: int) -> tuple[_Hashes, _Hashes]:
    """Return the first n powers of the base and of its inverse modulo 2**64."""
    tables = []
    for base in (_BASE, _BASE_INVERSE):
        powers = np.full(n, base, np.uint64)
        powers[0] = 1
        tables.append(np.multiply.accumulate(powers))
    return tables[0], tables[1]
