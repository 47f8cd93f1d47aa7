"""Fitting of the feature blocks on training prompts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from router.blocks import BlockScaler
from router.features import Features

__all__ = ["BLOCKS", "fit_scaler", "ngram_matrix"]

BLOCKS = ("embedding", "statistics", "waves", "ngrams")

_WAVES = 256
_WAVE_COLUMNS = 32
_CHUNK_ROWS = 4096
_EMBEDDING_WEIGHT = 0.5


def fit_scaler(
    features: Features,
    *,
    seed: int = 0,
    n_waves: int = _WAVES,
    blocks: Collection[str] = BLOCKS,
) -> BlockScaler:
    """Learn scales, document frequencies and random directions.

    Parameters
    ----------
    features : Features
        Features of the training prompts; no labels are used.
    seed : int
        Seed of the random directions.
    n_waves : int
        Number of random directions; each gives a cosine and a sine. They are in the space of the
        statistics and the first 32 columns of the embedding: more columns tell no more of a
        prompt's kind and take longer.
    blocks : collection of str
        Names of the blocks in use; the others are zero in training and in serving.

    Returns
    -------
    BlockScaler
        Ready to transform.
    """
    split = features.n_embedding
    # Single precision would give a constant column a deviation.
    mean = features.dense.mean(axis=0, dtype=np.float64)
    deviation = features.dense.std(axis=0, dtype=np.float64)
    n_statistics = features.dense.shape[1] - split
    scale = np.empty_like(mean)
    spread = float(np.sqrt((deviation[:split] ** 2).sum()))
    scale[:split] = 1.0 / max(spread, 1e-6)
    constant = deviation[split:] < 1e-6
    scale[split:] = np.where(constant, 0.0, 1.0 / np.where(constant, 1.0, deviation[split:]))
    scale[split:] /= np.sqrt(max(n_statistics, 1))

    if "embedding" not in blocks:
        scale[:split] = 0.0
    if "statistics" not in blocks:
        scale[split:] = 0.0

    frequency = np.bincount(features.indices, minlength=features.n_columns)
    idf = np.log((1.0 + len(features)) / (1.0 + frequency)) + 1.0
    if "ngrams" not in blocks:
        idf[:] = 0.0

    rng = np.random.default_rng(seed)
    leading = min(split, _WAVE_COLUMNS)
    n_waves = n_waves if "waves" in blocks else 0
    directions = _orthogonal_directions(leading + n_statistics, n_waves, rng) * np.sqrt(2.0)
    directions[:leading] *= _EMBEDDING_WEIGHT
    return BlockScaler(
        mean=mean.astype(np.float32),
        scale=scale.astype(np.float32),
        idf=idf.astype(np.float32),
        frequencies=directions.astype(np.float32),
        n_embedding=split,
    )


def _orthogonal_directions(
    n_columns: int, n_directions: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw directions that are as long as standard normal ones, and orthogonal where they can be.

    They estimate a Gaussian kernel with less variance than independent ones (Yu et al.,
    "Orthogonal random features", NeurIPS 2016).
    """
    drawn = [np.zeros((n_columns, 0))]
    for _ in range(0, n_directions if n_columns else 0, max(n_columns, 1)):
        rotation, triangle = np.linalg.qr(rng.standard_normal((n_columns, n_columns)))
        # with the signs of the triangle's diagonal, every rotation is as likely
        rotation *= np.sign(np.diag(triangle))
        drawn.append(rotation * np.sqrt(rng.chisquare(n_columns, n_columns)))
    return np.hstack(drawn)[:, :n_directions]


def ngram_matrix(scaler: BlockScaler, features: Features) -> sparse.csr_matrix:
    """Return the weighted n-gram block as a sparse matrix of shape (n, n_columns)."""
    values = np.empty(len(features.indices), np.float32)
    # Several times the size of the block goes into its norms: a bounded part of it at a time.
    for start in range(0, len(features), _CHUNK_ROWS):
        ends = features.indptr[start : start + _CHUNK_ROWS + 1]
        part = slice(ends[0], ends[-1])
        rows = replace(
            features,
            dense=features.dense[start : start + _CHUNK_ROWS],
            profile=features.profile[start : start + _CHUNK_ROWS],
            indptr=ends - ends[0],
            indices=features.indices[part],
            values=features.values[part],
        )
        values[part] = scaler.ngram_values(rows)
    return sparse.csr_matrix(
        (values, features.indices, features.indptr), shape=(len(features), features.n_columns)
    )
