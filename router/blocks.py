"""Feature blocks: features brought to the scales that the heads are linear in.

Four blocks, each of about unit mean square so that one penalty suits all:

``statistics``
    standardised text statistics, clipped at four standard deviations
``embedding``
    the centred embedding
``waves``
    random Fourier features of the statistics and the leading columns of the embedding, the linear
    form of a Gaussian kernel on them (Rahimi and Recht, "Random features for large-scale kernel
    machines", NeurIPS 2007)
``ngrams``
    hashed n-grams with inverse document frequencies, words and characters each of unit norm
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.features import Features

__all__ = ["BlockScaler"]

_Array = NDArray[np.float32]
_CLIP = 4.0
_LEAST_NORM = 1e-9


@dataclass(frozen=True, slots=True)
class BlockScaler:
    """Brings features to block scales.

    Attributes
    ----------
    mean, scale : ndarray of shape (n_dense,)
        Centre and reciprocal scale of the dense features.
    idf : ndarray of shape (n_columns,)
        Weight of each n-gram column.
    frequencies : ndarray of shape (n_wave_inputs, n_waves)
        Directions of the random Fourier features, on the leading columns of the scaled embedding
        and all scaled statistics.
    n_embedding : int
        Leading dense columns that are the embedding.
    """

    mean: _Array
    scale: _Array
    idf: _Array
    frequencies: _Array
    n_embedding: int

    @property
    def n_dense(self) -> int:
        """Width of what :meth:`dense` returns."""
        return int(self.mean.size + 2 * self.frequencies.shape[1])

    def dense(self, features: Features) -> _Array:
        """Return the dense blocks: embedding, statistics, waves.

        Parameters
        ----------
        features : Features
            Features of n prompts.

        Returns
        -------
        ndarray of shape (n, n_dense)
            float32; the first columns are what :meth:`scaled` returns.
        """
        split, n_waves = self.mean.size, self.frequencies.shape[1]
        blocks = np.empty((len(features), self.n_dense), np.float32)
        blocks[:, :split] = self.scaled(features)
        angles = self.angles(blocks)
        np.cos(angles, out=blocks[:, split : split + n_waves])
        np.sin(angles, out=blocks[:, split + n_waves :])
        blocks[:, split:] *= 1.0 / math.sqrt(max(n_waves, 1))
        return blocks

    def angles(self, scaled: _Array) -> _Array:
        """Return the angles whose cosines and sines are the waves.

        Parameters
        ----------
        scaled : ndarray of shape (n, at least mean.size)
            Embedding and statistics as :meth:`scaled` returns them; columns after them are left
            alone.

        Returns
        -------
        ndarray of shape (n, n_waves)
            float32.
        """
        statistics = slice(self.n_embedding, self.mean.size)
        leading = len(self.frequencies) - (statistics.stop - statistics.start)
        angles: _Array = scaled[:, :leading] @ self.frequencies[:leading]
        angles += scaled[:, statistics] @ self.frequencies[leading:]
        return angles

    def scaled(self, features: Features) -> _Array:
        """Return embedding and statistics, centred and scaled.

        Parameters
        ----------
        features : Features
            Features of n prompts.

        Returns
        -------
        ndarray of shape (n, mean.size)
            float32.
        """
        limit = _CLIP / math.sqrt(max(self.mean.size - self.n_embedding, 1))
        scaled: _Array = (features.dense - self.mean) * self.scale
        np.minimum(scaled, limit, out=scaled)
        return np.maximum(scaled, -limit, out=scaled)

    def ngram_values(self, features: Features) -> _Array:
        """Return the weighted values of the n-gram block, in the order of `features.indices`.

        Parameters
        ----------
        features : Features
            Features of n prompts.

        Returns
        -------
        ndarray of shape (n_nonzero,)
            float32; the words and the characters of each prompt have unit norm each.
        """
        values = features.values * self.idf.take(features.indices)
        if len(features) == 1:
            # columns ascend: first the words, then the characters
            split = int(features.indices.searchsorted(features.n_columns // 2))
            for block in (values[:split], values[split:]):
                block *= 1.0 / max(math.sqrt(block.dot(block)), _LEAST_NORM)
            return values
        rows = np.repeat(np.arange(len(features)), np.diff(features.indptr))
        segment = 2 * rows + (features.indices >= features.n_columns // 2)
        norms = np.sqrt(np.bincount(segment, values * values, 2 * len(features)))
        return (values / np.maximum(norms, _LEAST_NORM)[segment]).astype(np.float32)

    def to_arrays(self) -> dict[str, _Array]:
        """Return the arrays to store; :meth:`from_arrays` takes them back."""
        return {
            "mean": self.mean,
            "scale": self.scale,
            "idf": self.idf,
            "frequencies": self.frequencies,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, _Array], n_embedding: int) -> BlockScaler:
        """Build the scaler from stored arrays.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            As :meth:`to_arrays` returns them.
        n_embedding : int
            Leading dense columns that are the embedding.

        Raises
        ------
        KeyError
            If an array is missing.
        """
        return cls(
            arrays["mean"], arrays["scale"], arrays["idf"], arrays["frequencies"], n_embedding
        )
