"""The trained model: from features to each model's quality and answer length, in numpy.

Everything that is linear in the features has been collapsed into one weight matrix whose columns
are latents; links lead from the latents to qualities, exponentials to token counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.blocks import BlockScaler
from router.features import Features
from router.scoring import cluster_of, neighbour_weights, squared_norms

__all__ = ["NeighbourHead", "QualityLink", "RouterModel", "Scores"]

_Array = NDArray[np.float32]
_Floats = NDArray[np.float64]

_MAX_LOG_TOKENS = 13.0
_MAX_LOG_ODDS = 30.0


@dataclass(frozen=True, slots=True)
class Scores:
    """What the model expects of n prompts.

    Attributes
    ----------
    quality : ndarray of shape (n, n_models)
        Probability of a good answer.
    prompt_tokens : ndarray of shape (n,)
        Expected tokens of the prompt.
    completion_tokens : ndarray of shape (n, n_models)
        Expected tokens of the answer.
    """

    quality: _Floats
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
        Share in the average of all links.
    """

    columns: slice
    coefficients: _Floats
    intercept: _Floats
    logistic: bool
    weight: float

    def quality(self, latent: _Floats) -> _Floats:
        """Return qualities of shape (n, n_models)."""
        value = latent[:, self.columns] @ self.coefficients + self.intercept
        if not self.logistic:
            return np.clip(value, 0.0, 1.0)
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(value, -_MAX_LOG_ODDS, _MAX_LOG_ODDS))))


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
        """Build the head; its norms follow from the bank."""
        return cls(neighbours, bank, values, squared_norms(bank))

    def latent(self, scaled: _Array) -> _Array:
        """Return contributions of shape (n, n_latents)."""
        counts = tuple(min(k, len(self.bank)) for k in self.neighbours)
        found = neighbour_weights(scaled, self.bank, counts, self.squares)
        total = np.zeros((len(scaled), self.values[0].shape[1]), np.float32)
        for values, index, weight in zip(self.values, *found, strict=True):
            total += (weight[:, None, :] @ values[index])[:, 0]
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
    links : tuple of QualityLink
        From latents to qualities.
    token_factor : ndarray of shape (n_models,)
        From the exponential of a log length to a mean length.
    token_limit : ndarray of shape (n_models,)
        Longest expected answer, in tokens.
    """

    scaler: BlockScaler
    dense_weights: _Array
    ngram_weights: NDArray[np.float16]
    intercept: _Array
    neighbours: NeighbourHead | None
    cluster_centres: _Array
    cluster_values: _Array
    links: tuple[QualityLink, ...]
    token_factor: _Floats
    token_limit: _Floats

    @property
    def n_models(self) -> int:
        """Number of models in the pool."""
        return int(self.token_factor.size)

    def latent(self, features: Features) -> _Floats:
        """Return the latents, of shape (n, n_latents).

        Parameters
        ----------
        features : Features
            Features of n prompts.
        """
        dense = self.scaler.dense(features)
        scaled = dense[:, : self.scaler.mean.size]
        latent = dense @ self.dense_weights + self.intercept
        values = self.scaler.ngram_values(features)
        indptr = features.indptr
        for i in range(len(features)):
            row = slice(indptr[i], indptr[i + 1])
            used = self.ngram_weights[features.indices[row]].astype(np.float32)
            latent[i] += values[row] @ used
        if self.neighbours is not None:
            latent += self.neighbours.latent(scaled)
        if len(self.cluster_centres):
            squares = squared_norms(self.cluster_centres)
            latent += self.cluster_values[cluster_of(scaled, self.cluster_centres, squares)]
        return latent.astype(np.float64)

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
        quality = sum(
            (link.weight * link.quality(latent) for link in self.links),
            start=np.zeros((len(latent), self.n_models)),
        )
        first = latent.shape[1] - self.n_models - 1
        log_tokens = np.clip(latent[:, first:-1], 0.0, _MAX_LOG_TOKENS)
        completion = np.clip(np.exp(log_tokens) * self.token_factor, 1.0, self.token_limit)
        prompt = np.maximum(characters * np.exp(np.clip(latent[:, -1], -4.0, 1.0)), 1.0)
        return Scores(quality, prompt, completion)

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
            "link_columns": np.array([[k.columns.start, k.columns.stop] for k in self.links]),
            "link_logistic": np.array([k.logistic for k in self.links]),
            "link_weight": np.array([k.weight for k in self.links]),
        }
        if self.neighbours is not None:
            arrays["neighbour_counts"] = np.array(self.neighbours.neighbours, np.int64)
            arrays["neighbour_bank"] = self.neighbours.bank
            arrays["neighbour_values"] = np.stack(self.neighbours.values)
        for i, link in enumerate(self.links):
            arrays[f"link_{i}_coefficients"] = link.coefficients
            arrays[f"link_{i}_intercept"] = link.intercept
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> RouterModel:
        """Build the model from stored arrays.

        Raises
        ------
        KeyError
            If an array is missing.
        """
        names = ("mean", "scale", "idf", "frequencies")
        scaler = BlockScaler.from_arrays(
            {name: arrays[f"scaler_{name}"] for name in names}, int(arrays["scaler_n_embedding"])
        )
        neighbours = None
        if "neighbour_bank" in arrays:
            neighbours = NeighbourHead.build(
                tuple(int(k) for k in arrays["neighbour_counts"]),
                arrays["neighbour_bank"],
                tuple(arrays["neighbour_values"]),
            )
        links = tuple(
            QualityLink(
                slice(int(start), int(stop)),
                arrays[f"link_{i}_coefficients"],
                arrays[f"link_{i}_intercept"],
                bool(arrays["link_logistic"][i]),
                float(arrays["link_weight"][i]),
            )
            for i, (start, stop) in enumerate(arrays["link_columns"])
        )
        return cls(
            scaler=scaler,
            dense_weights=arrays["dense_weights"],
            ngram_weights=arrays["ngram_weights"],
            intercept=arrays["intercept"],
            neighbours=neighbours,
            cluster_centres=arrays["cluster_centres"],
            cluster_values=arrays["cluster_values"],
            links=links,
            token_factor=arrays["token_factor"],
            token_limit=arrays["token_limit"],
        )
