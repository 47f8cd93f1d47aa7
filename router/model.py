"""The trained model: from features to each model's quality and answer length, in numpy.

Everything that is linear in the features has been collapsed into one weight matrix whose columns
are latents; links lead from the latents to qualities, exponentials to token counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.blocks import BlockScaler
from router.features import Features
from router.recalibration import KNOTS, Recalibration
from router.scoring import (
    cluster_of,
    neighbour_weights,
    probabilities,
    squared_norms,
    widened,
    within,
)
from router.trees import TreeEnsemble, n_inputs, tree_inputs

__all__ = ["NeighbourHead", "QualityLink", "RouterModel", "Scores"]

_Array = NDArray[np.float32]
_Floats = NDArray[np.float64]

_MAX_LOG_TOKENS = 13.0
_CHUNK_ROWS = 1024


@dataclass(frozen=True, slots=True)
class Scores:
    """What the model expects of n prompts.

    Attributes
    ----------
    quality : ndarray of shape (n, n_models)
        Expected quality.
    probability : ndarray of shape (n, n_models)
        Probability of a good answer.
    prompt_tokens : ndarray of shape (n,)
        Expected tokens of the prompt.
    completion_tokens : ndarray of shape (n, n_models)
        Expected tokens of the answer.
    """

    quality: _Floats
    probability: _Floats
    prompt_tokens: _Floats
    completion_tokens: _Floats


@dataclass(frozen=True, slots=True)
class QualityLink:
    """One way from latents to qualities.

    Attributes
    ----------
    columns : slice
        The latents that it reads.
    coefficients : ndarray of shape (n_latents, n_models)
        Weights of the latents.
    intercept : ndarray of shape (n_models,)
        Intercepts.
    logistic : bool
        Whether the sum is log-odds.
    weight : float
        Share in the average of all links; the shares sum to 1.
    """

    columns: slice
    coefficients: _Floats
    intercept: _Floats
    logistic: bool
    weight: float


@dataclass(frozen=True, slots=True)
class _Readout:
    """All links at once, so that one product gives the values of every link."""

    coefficients: _Floats
    intercept: _Floats
    logistic: NDArray[np.bool_]
    weight: _Floats

    @classmethod
    def build(cls, links: tuple[QualityLink, ...], n_latents: int, n_models: int) -> _Readout:
        coefficients = np.zeros((n_latents, len(links), n_models))
        intercept = np.empty((len(links), n_models))
        for i, link in enumerate(links):
            coefficients[link.columns, i] = link.coefficients
            intercept[i] = link.intercept
        return cls(
            coefficients.reshape(n_latents, len(links) * n_models),
            intercept,
            np.array([[link.logistic] for link in links]),
            np.array([link.weight for link in links]),
        )

    def quality(self, latent: _Floats) -> _Floats:
        """Return qualities of shape (n, n_models)."""
        value = (latent @ self.coefficients).reshape(len(latent), *self.intercept.shape)
        value += self.intercept
        quality = np.where(self.logistic, probabilities(value), within(value, 0.0, 1.0))
        # the weights sum to 1 but for rounding
        return np.minimum(self.weight @ quality, 1.0)


@dataclass(frozen=True, slots=True)
class NeighbourHead:
    """Latents of the nearest training prompts.

    Attributes
    ----------
    neighbours : tuple of int
        How many prompts are averaged, for each of the heads that share the bank.
    bank : ndarray of shape (n_bank, n_features)
        Scaled features of the prompts.
    values : tuple of ndarray of shape (n_bank, n_latents)
        Their contributions to the latents, for each head.
    squares : ndarray of shape (n_bank,)
        Squared norms of the bank.
    """

    neighbours: tuple[int, ...]
    bank: _Array
    values: tuple[_Array, ...]
    squares: _Array

    @classmethod
    def build(
        cls, neighbours: tuple[int, ...], bank: _Array, values: tuple[_Array, ...]
    ) -> NeighbourHead:
        """Build the head; its norms follow from the bank.

        Parameters
        ----------
        neighbours : tuple of int
            How many prompts are averaged, for each head; all there are where the bank has fewer.
        bank : ndarray of shape (n_bank, n_features)
            Scaled features of the prompts.
        values : tuple of ndarray of shape (n_bank, n_latents)
            Their contributions to the latents, for each head.
        """
        return cls(neighbours, bank, values, squared_norms(bank))

    def latent(self, scaled: _Array) -> _Array:
        """Return the contributions of the nearest prompts.

        Parameters
        ----------
        scaled : ndarray of shape (n, n_features)
            Scaled features of n prompts.

        Returns
        -------
        ndarray of shape (n, n_latents)
            float32.
        """
        counts = tuple(min(k, len(self.bank)) for k in self.neighbours)
        found = neighbour_weights(scaled, self.bank, counts, self.squares)
        total = np.zeros((len(scaled), self.values[0].shape[1]), np.float32)
        for values, index, weight in zip(self.values, *found, strict=True):
            total += (weight[:, None, :] @ values.take(index, axis=0))[:, 0]
        return total


@dataclass(frozen=True, slots=True)
class RouterModel:
    """All that is learned, as arrays.

    The latents are, in this order, those of the quality links, the logarithm of each model's
    completion tokens, and the logarithm of prompt tokens per character.

    Attributes
    ----------
    scaler : BlockScaler
        From features to blocks.
    dense_weights : ndarray of shape (n_dense, n_latents)
        Weights of the dense blocks.
    ngram_weights : ndarray of shape (n_columns, n_latents)
        Weights of the n-grams, in half precision: they are most of the artifact.
    intercept : ndarray of shape (n_latents,)
        Intercepts of the latents.
    neighbours : NeighbourHead, optional
        Heads that look prompts up; None where none is used.
    cluster_centres, cluster_values : ndarray
        Centres (n_clusters, n_features) and their contributions (n_clusters, n_latents); no rows
        where no cluster head is used.
    trees : TreeEnsemble, optional
        Trees; None where none are used.
    links : tuple of QualityLink
        From latents to qualities.
    token_factor : ndarray of shape (n_models,)
        From the exponential of a log length to a mean length.
    token_limit : ndarray of shape (n_models,)
        Longest expected answer, in tokens.
    recalibration : Recalibration
        From expected quality to the probability of a good answer.
    """

    scaler: BlockScaler
    dense_weights: _Array
    ngram_weights: NDArray[np.float16]
    intercept: _Array
    neighbours: NeighbourHead | None
    cluster_centres: _Array
    cluster_values: _Array
    trees: TreeEnsemble | None
    links: tuple[QualityLink, ...]
    token_factor: _Floats
    token_limit: _Floats
    recalibration: Recalibration
    _cluster_squares: _Array = field(init=False, repr=False, compare=False)
    _ngram_table: _Array = field(init=False, repr=False, compare=False)
    _readout: _Readout = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        readout = _Readout.build(self.links, self.intercept.size, self.n_models)
        object.__setattr__(self, "_readout", readout)
        object.__setattr__(self, "_cluster_squares", squared_norms(self.cluster_centres))
        # in single precision, so that a prompt's rows need not be converted each time
        object.__setattr__(self, "_ngram_table", widened(self.ngram_weights))

    @property
    def n_models(self) -> int:
        """Number of models in the pool."""
        return int(self.token_factor.size)

    def latent(self, features: Features) -> _Floats:
        """Return the latents of prompts.

        Parameters
        ----------
        features : Features
            Features of n prompts.

        Returns
        -------
        ndarray of shape (n, n_latents)
            A prompt's row does not depend on the others, but for rounding.
        """
        if len(features) <= _CHUNK_ROWS:
            return self._latent(features)
        latent = np.empty((len(features), self.intercept.size))
        for start in range(0, len(features), _CHUNK_ROWS):
            part = slice(start, start + _CHUNK_ROWS)
            latent[part] = self._latent(_rows(features, part))
        return latent

    def _latent(self, features: Features) -> _Floats:
        dense = self.scaler.dense(features)
        latent = (dense @ self.dense_weights).astype(np.float64)
        latent += self.intercept
        values = self.scaler.ngram_values(features)
        bounds = features.indptr.tolist()
        for i, (start, stop) in enumerate(pairwise(bounds)):
            columns = features.indices[start:stop]
            latent[i] += values[start:stop] @ self._ngram_table.take(columns, axis=0)
        scaled = dense[:, : self.scaler.mean.size]
        if self.neighbours is not None:
            latent += self.neighbours.latent(scaled)
        if len(self.cluster_centres):
            cluster = cluster_of(scaled, self.cluster_centres, self._cluster_squares)
            latent += self.cluster_values[cluster]
        if self.trees is not None:
            latent += self.trees.latent(tree_inputs(features))
        return latent

    def score(self, features: Features, characters: _Floats) -> Scores:
        """Return what each model is expected to do on each prompt.

        Parameters
        ----------
        features : Features
            Features of n prompts.
        characters : ndarray of shape (n,)
            Characters of the prompts.

        Returns
        -------
        Scores
            Qualities and token counts.
        """
        latent = self.latent(features)
        first = latent.shape[1] - self.n_models - 1
        log_tokens = within(latent[:, first:-1], 0.0, _MAX_LOG_TOKENS)
        completion = within(np.exp(log_tokens) * self.token_factor, 1.0, self.token_limit)
        prompt = np.maximum(characters * np.exp(within(latent[:, -1], -4.0, 1.0)), 1.0)
        quality = self._readout.quality(latent)
        return Scores(quality, self.recalibration.probability(quality), prompt, completion)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays to store; :meth:`from_arrays` takes them back."""
        arrays: dict[str, NDArray[Any]] = {
            **{f"scaler_{name}": value for name, value in self.scaler.to_arrays().items()},
            "scaler_n_embedding": np.array(self.scaler.n_embedding),
            "dense_weights": self.dense_weights,
            "ngram_weights": self.ngram_weights,
            "intercept": self.intercept,
            "cluster_centres": self.cluster_centres,
            "cluster_values": self.cluster_values,
            "token_factor": self.token_factor,
            "token_limit": self.token_limit,
            "recalibration": self.recalibration.values,
            "link_columns": np.array([[k.columns.start, k.columns.stop] for k in self.links]),
            "link_logistic": np.array([k.logistic for k in self.links]),
            "link_weight": np.array([k.weight for k in self.links]),
        }
        if self.neighbours is not None:
            arrays["neighbour_counts"] = np.array(self.neighbours.neighbours, np.int64)
            arrays["neighbour_bank"] = self.neighbours.bank
            arrays["neighbour_values"] = np.stack(self.neighbours.values)
        if self.trees is not None:
            stored = self.trees.to_arrays().items()
            arrays.update((f"trees_{name}", value) for name, value in stored)
        for i, link in enumerate(self.links):
            arrays[f"link_{i}_coefficients"] = link.coefficients
            arrays[f"link_{i}_intercept"] = link.intercept
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> RouterModel:
        """Build the model from stored arrays.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            As :meth:`to_arrays` returns them.

        Raises
        ------
        KeyError
            If an array is missing.
        ValueError
            If the shapes of two arrays do not fit each other.
        """
        n_features = arrays["scaler_mean"].size
        n_wave_inputs, n_waves = arrays["scaler_frequencies"].shape
        n_columns, n_latents = arrays["ngram_weights"].shape
        n_models = arrays["token_factor"].size
        n_clusters, n_links = len(arrays["cluster_centres"]), len(arrays["link_columns"])

        def stored(name: str, dtype: type[np.generic], *shape: int) -> NDArray[Any]:
            array = np.asarray(arrays[name], dtype)
            if array.shape != shape:
                raise ValueError(f"array {name!r} has shape {array.shape}, not {shape}")
            return array

        single, double = np.float32, np.float64
        n_embedding = int(arrays["scaler_n_embedding"])
        if not n_features - n_embedding <= n_wave_inputs <= n_features:
            raise ValueError(f"array 'scaler_frequencies' has {n_wave_inputs} rows")
        scaler = {
            "mean": stored("scaler_mean", single, n_features),
            "scale": stored("scaler_scale", single, n_features),
            "idf": stored("scaler_idf", single, n_columns),
            "frequencies": stored("scaler_frequencies", single, n_wave_inputs, n_waves),
        }
        neighbours = None
        if "neighbour_bank" in arrays:
            n_heads, n_bank = len(arrays["neighbour_counts"]), len(arrays["neighbour_bank"])
            values = stored("neighbour_values", single, n_heads, n_bank, n_latents)
            neighbours = NeighbourHead.build(
                tuple(stored("neighbour_counts", np.int64, n_heads).tolist()),
                stored("neighbour_bank", single, n_bank, n_features),
                tuple(values),
            )
        trees = None
        if "trees_roots" in arrays:
            trees = TreeEnsemble.from_arrays(
                {
                    name.removeprefix("trees_"): array
                    for name, array in arrays.items()
                    if name.startswith("trees_")
                },
                n_inputs(n_embedding, n_features - n_embedding),
                n_latents,
            )
        logistic = stored("link_logistic", np.bool_, n_links).tolist()
        weight = stored("link_weight", double, n_links).tolist()
        links = []
        for i, (start, stop) in enumerate(stored("link_columns", np.int64, n_links, 2).tolist()):
            if not 0 <= start <= stop < n_latents - n_models:
                raise ValueError(f"array 'link_columns' has ({start}, {stop}) of {n_latents}")
            links.append(
                QualityLink(
                    slice(start, stop),
                    stored(f"link_{i}_coefficients", double, stop - start, n_models),
                    stored(f"link_{i}_intercept", double, n_models),
                    logistic[i],
                    weight[i],
                )
            )
        return cls(
            scaler=BlockScaler.from_arrays(scaler, n_embedding),
            dense_weights=stored("dense_weights", single, n_features + 2 * n_waves, n_latents),
            ngram_weights=stored("ngram_weights", np.float16, n_columns, n_latents),
            intercept=stored("intercept", single, n_latents),
            neighbours=neighbours,
            cluster_centres=stored("cluster_centres", single, n_clusters, n_features),
            cluster_values=stored("cluster_values", single, n_clusters, n_latents),
            trees=trees,
            links=tuple(links),
            token_factor=stored("token_factor", double, n_models),
            token_limit=stored("token_limit", double, n_models),
            recalibration=Recalibration(stored("recalibration", double, n_models, KNOTS.size)),
        )


def _rows(features: Features, part: slice) -> Features:
    """Return the features of some prompts."""
    bounds = features.indptr[part.start : part.stop + 1]
    entries = slice(bounds[0], bounds[-1])
    return replace(
        features,
        dense=features.dense[part],
        profile=features.profile[part],
        indptr=bounds - bounds[0],
        indices=features.indices[entries],
        values=features.values[entries],
    )
