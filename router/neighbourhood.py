"""How far a prompt lies from the training prompts, relative to how far those lie apart.

The local outlier factor (Breunig et al., "LOF: identifying density-based local outliers",
SIGMOD 2000) with the square root of the neighbours' own distances: the mean distance alone calls
prompts of diverse tasks novel, the plain ratio those that are close to prompts of one template.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.features import Features

__all__ = ["Neighbourhood", "PromptSpace", "word_sketch"]

_Array = NDArray[np.float32]
_Floats = NDArray[np.float64]

_CHUNK_ROWS = 1024


@dataclass(frozen=True, slots=True)
class PromptSpace:
    """The space in which distances between prompts are taken.

    Its coordinates are the dense features, scaled and clipped, and a sketch of the word n-grams.

    Attributes
    ----------
    centre, scale, limit : ndarray of shape (n_dense,)
        A dense feature less its centre, times its scale, is clipped to plus or minus its limit.
    sketch_centre : ndarray of shape (n_sketch,)
        Mean sketch of the word n-grams; the size is a power of two.
    """

    centre: _Array
    scale: _Array
    limit: _Array
    sketch_centre: _Array

    def coordinates(self, features: Features) -> _Array:
        """Return where prompts lie.

        Parameters
        ----------
        features : Features
            Features of n prompts.

        Returns
        -------
        ndarray of shape (n, n_dense + n_sketch)
            float32.
        """
        n_dense, n_sketch = self.centre.size, self.sketch_centre.size
        full = np.empty((len(features), n_dense + n_sketch), np.float32)
        dense, sketch = full[:, :n_dense], full[:, n_dense:]
        np.subtract(features.dense, self.centre, out=dense)
        dense *= self.scale
        np.minimum(dense, self.limit, out=dense)
        np.maximum(dense, -self.limit, out=dense)
        sketch[:] = word_sketch(features, n_sketch)
        sketch -= self.sketch_centre
        return full


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """Training prompts to which distances are taken.

    A distance is that within the projection and, as if they were at right angles, those of the
    two prompts from it.

    Attributes
    ----------
    space : PromptSpace
        The space in which they lie.
    projection : ndarray of shape (n_dense + n_sketch, n_dimensions)
        Orthonormal columns.
    bank : ndarray of shape (n_bank, n_dimensions)
        Training prompts in the projection, in numbers that half precision holds.
    offset : ndarray of shape (n_bank,)
        Their squared norms in the whole space.
    radius : ndarray of shape (n_bank,)
        How far each of them lies from its own neighbours; positive.
    n_neighbours : int
        Neighbours whose distance counts.

    Raises
    ------
    ValueError
        If there are fewer prompts than neighbours, or a radius is not positive.
    """

    space: PromptSpace
    projection: _Array
    bank: _Array
    offset: _Array
    radius: _Array
    n_neighbours: int
    _minus_twice_bank: _Array = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.n_neighbours <= len(self.bank):
            raise ValueError(f"n_neighbours is {self.n_neighbours}: use 1 to {len(self.bank)}")
        if not (self.radius > 0.0).all():
            raise ValueError("radius must be positive")
        object.__setattr__(
            self, "_minus_twice_bank", np.ascontiguousarray(np.float32(-2.0) * self.bank.T)
        )

    def score(self, features: Features) -> _Floats:
        """Return how far prompts lie from the training prompts.

        Parameters
        ----------
        features : Features
            Features of n prompts.

        Returns
        -------
        ndarray of shape (n,)
            At least 0; a prompt's score does not depend on the others, but for rounding.
        """
        coordinates = self.space.coordinates(features)
        if len(coordinates) <= _CHUNK_ROWS:
            return self._score(coordinates)
        starts = range(0, len(coordinates), _CHUNK_ROWS)
        return np.concatenate([self._score(coordinates[i : i + _CHUNK_ROWS]) for i in starts])

    def distances(self, features: Features) -> _Floats:
        """Return how far prompts lie from each of the training prompts.

        Parameters
        ----------
        features : Features
            Features of n prompts, no more than fit into memory with all distances.

        Returns
        -------
        ndarray of shape (n, n_bank)
            At least 0.
        """
        coordinates = self.space.coordinates(features)
        square = np.einsum("nd,nd->n", coordinates, coordinates, dtype=np.float64)
        squares = self._squares_less_own(coordinates) + square[:, None]
        return np.asarray(np.sqrt(np.maximum(squares, 0.0)), np.float64)

    def _squares_less_own(self, coordinates: _Array) -> _Array:
        """Return squared distances to the bank, less the squared norm of the prompts."""
        distance = coordinates @ self.projection @ self._minus_twice_bank
        distance += self.offset
        return np.asarray(distance, np.float32)

    def _score(self, coordinates: _Array) -> _Floats:
        score = []
        for place, row in zip(coordinates, self._squares_less_own(coordinates), strict=True):
            square = float(place.dot(place))
            near, radius = 0.0, 0.0
            # for a handful of neighbours, several times faster than a partition
            for _ in range(self.n_neighbours):
                nearest = int(row.argmin())
                near += float(row[nearest]) + square
                radius += float(self.radius[nearest])
                row[nearest] = np.inf
            score.append(math.sqrt(max(near, 0.0) / radius))
        return np.array(score)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays to store; :meth:`from_arrays` takes them back."""
        return {
            "centre": self.space.centre,
            "scale": self.space.scale,
            "limit": self.space.limit,
            "sketch_centre": self.space.sketch_centre,
            "projection": self.projection,
            "bank": self.bank.astype(np.float16),
            "offset": self.offset,
            "radius": self.radius,
            "n_neighbours": np.array(self.n_neighbours),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Neighbourhood:
        """Build the neighbourhood from stored arrays.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            As :meth:`to_arrays` returns them.

        Raises
        ------
        KeyError
            If an array is missing.
        ValueError
            If the shapes of two arrays do not fit each other, or a number is out of its range.
        """
        n_dense, n_sketch = arrays["centre"].size, arrays["sketch_centre"].size
        n_bank, n_dimensions = arrays["bank"].shape
        if n_sketch & (n_sketch - 1):
            raise ValueError(f"array 'sketch_centre' has {n_sketch} numbers: not a power of two")
        shapes = {
            "centre": (n_dense,),
            "scale": (n_dense,),
            "limit": (n_dense,),
            "sketch_centre": (n_sketch,),
            "projection": (n_dense + n_sketch, n_dimensions),
            "bank": (n_bank, n_dimensions),
            "offset": (n_bank,),
            "radius": (n_bank,),
        }
        for name, shape in shapes.items():
            if arrays[name].shape != shape:
                raise ValueError(f"array {name!r} has shape {arrays[name].shape}, not {shape}")
        stored = {name: np.asarray(arrays[name], np.float32) for name in shapes}
        space = {name: stored.pop(name) for name in ("centre", "scale", "limit", "sketch_centre")}
        return cls(PromptSpace(**space), **stored, n_neighbours=int(arrays["n_neighbours"]))


def word_sketch(features: Features, n_sketch: int) -> _Floats:
    """Return signed sums of the word n-grams.

    Each n-gram is added to, or taken from, one of the sums (Weinberger et al., "Feature hashing
    for large scale multitask learning", ICML 2009).

    Parameters
    ----------
    features : Features
        Features of n prompts.
    n_sketch : int
        Number of sums, a power of two.

    Returns
    -------
    ndarray of shape (n, n_sketch)
        The inner product of two rows estimates that of the prompts' word n-grams.
    """
    n = len(features)
    words: slice | NDArray[np.bool_]
    if n == 1:  # columns ascend within a row
        words = slice(0, int(features.indices.searchsorted(features.n_columns // 2)))
    else:
        words = features.indices < features.n_columns // 2
    columns, values = features.indices[words], features.values[words]
    # columns are hashes: the lowest bits are a place, the next one is a sign
    place = columns & (n_sketch - 1)
    if n > 1:
        place = place + n_sketch * np.repeat(np.arange(n), np.diff(features.indptr))[words]
    signed = np.where(columns & n_sketch, -values, values)
    return np.asarray(np.bincount(place, signed, n * n_sketch).reshape(n, n_sketch), np.float64)
