"""What each part of a prompt's features adds to a router's latents, exactly.

The start to which a prompt is compared is an average training prompt, as far as the router
remembers any: the mean of its bank of prompts, without n-grams.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.artifact import Artifact
from router.features import FeatureExtractor, Features
from router.messages import Prompt, prompt_text
from router.model import RouterModel
from router.scoring import cluster_of, squared_norms
from router.textcap import cap_prompt
from router.textstats import STATISTIC_NAMES
from router.trees import tree_inputs

__all__ = ["Part", "parts_of"]

_Floats = NDArray[np.float64]

_MOST_WORDS = 400
_WORD = re.compile(r"\w+|[^\w\s]")

_EMBEDDING, _STATISTICS, _WAVES = (
    "embedding",
    "text statistics",
    "embedding and statistics jointly",
)
_WORDS, _CHARACTERS = "words and word pairs", "character n-grams"
_NEIGHBOURS, _CLUSTER = "similar training prompts", "cluster of prompts"
_TREES = "size and kind of the text (trees)"


@dataclass(frozen=True, slots=True)
class Part:
    """What one view of the features adds to a router's latents.

    Attributes
    ----------
    here, start : ndarray of shape (n_latents,)
        For the prompt, and for an average training prompt without n-grams.
    names : tuple of str
        Parts of the view that have a name.
    named : ndarray of shape (n_names, n_latents)
        What each of them adds to the prompt beyond the start.
    """

    here: _Floats
    start: _Floats
    names: tuple[str, ...] = ()
    named: _Floats | None = None


def parts_of(
    artifact: Artifact, extractor: FeatureExtractor, prompt: Prompt, features: Features
) -> dict[str, Part]:
    """Return what each view of the features adds to the latents.

    Parameters
    ----------
    artifact : Artifact
        The router.
    extractor : FeatureExtractor
        Of the router.
    prompt : Prompt
        The prompt.
    features : Features
        Its features.

    Returns
    -------
    dict of str to Part
        With the intercept they add up to the prompt's latents.
    """
    model = artifact.model
    weights = model.dense_weights.astype(np.float64)
    n_scaled, n_embedding = model.scaler.mean.size, model.scaler.n_embedding
    dense = model.scaler.dense(features)[0].astype(np.float64)
    remembered = _remembered(model)
    bank = _dense_of(model, remembered).mean(axis=0)
    statistics = slice(n_embedding, n_scaled)
    none = np.zeros(weights.shape[1])
    parts = {
        _EMBEDDING: Part(
            dense[:n_embedding] @ weights[:n_embedding], bank[:n_embedding] @ weights[:n_embedding]
        ),
        _STATISTICS: Part(
            dense[statistics] @ weights[statistics],
            bank[statistics] @ weights[statistics],
            STATISTIC_NAMES,
            (dense - bank)[statistics, None] * weights[statistics],
        ),
        _WAVES: Part(dense[n_scaled:] @ weights[n_scaled:], bank[n_scaled:] @ weights[n_scaled:]),
    }
    values = model.scaler.ngram_values(features)[:, None] * model.ngram_weights[features.indices]
    is_word = features.indices < features.n_columns // 2
    columns = features.indices[is_word].tolist()
    words = _words(extractor, prompt, columns)
    parts[_WORDS] = Part(
        values[is_word].sum(axis=0, dtype=np.float64),
        none,
        tuple(words.values()),
        values[is_word][[columns.index(column) for column in words]].astype(np.float64),
    )
    parts[_CHARACTERS] = Part(values[~is_word].sum(axis=0, dtype=np.float64), none)
    scaled = dense[None, :n_scaled].astype(np.float32)
    if model.neighbours is not None:
        mean = sum(table.mean(axis=0, dtype=np.float64) for table in model.neighbours.values)
        parts[_NEIGHBOURS] = Part(
            model.neighbours.latent(scaled)[0].astype(np.float64), none + mean
        )
    if len(model.cluster_centres):
        squares = squared_norms(model.cluster_centres)
        place = cluster_of(np.vstack([scaled, remembered]), model.cluster_centres, squares)
        table = model.cluster_values[place].astype(np.float64)
        parts[_CLUSTER] = Part(table[0], table[1:].mean(axis=0))
    if model.trees is not None:
        latent = model.trees.latent(tree_inputs(features))
        parts[_TREES] = Part(latent[0].astype(np.float64), model.trees.mean.astype(np.float64))
    return parts


def _remembered(model: RouterModel) -> NDArray[np.float32]:
    """Return scaled features of training prompts, or of what stands for them."""
    if model.neighbours is not None:
        return model.neighbours.bank
    if len(model.cluster_centres):
        return model.cluster_centres
    return np.zeros((1, model.scaler.mean.size), np.float32)


def _dense_of(model: RouterModel, scaled: NDArray[np.float32]) -> _Floats:
    """Return the dense blocks of prompts whose scaled features are known."""
    angles = model.scaler.angles(scaled)
    share = 1.0 / np.sqrt(max(angles.shape[1], 1))
    return np.hstack([scaled, np.cos(angles) * share, np.sin(angles) * share]).astype(np.float64)


def _words(extractor: FeatureExtractor, prompt: Prompt, columns: list[int]) -> dict[int, str]:
    """Return the words of a prompt by their column of the n-grams.

    A column that several words share goes to the first of them.
    """
    ngrams = extractor.spec.ngrams()
    text = cap_prompt(prompt_text(prompt), extractor.spec.max_chars)
    present = set(columns)
    found: dict[int, str] = {}
    for word in list(dict.fromkeys(_WORD.findall(text)))[:_MOST_WORDS]:
        row, _ = ngrams.row(word)
        own = row[row < ngrams.n_buckets].tolist()
        if len(own) == 1 and own[0] in present:
            found.setdefault(own[0], word)
    return found
