"""Which parts of a prompt's features speak for the chosen model, and which against it.

A router's latents are sums of what each part of the features adds, exactly. The lead of one model
over another is a curved function of the latents; its share of each part is the part's size times
the mean slope of the lead on the straight way from a start to the prompt (integrated gradients:
Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks", ICML 2017; in economics the
prices of Aumann and Shapley, 1974). The shares add up to the lead less that at the start.

The start is an average training prompt, as far as the router remembers any: the mean of its bank of
prompts, without n-grams.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from router.artifact import Artifact
from router.explanation.parts import Part, parts_of
from router.features import FeatureExtractor, Features
from router.messages import Prompt, prompt_text
from router.model import RouterModel, Scores

__all__ = ["Detail", "Evidence", "ViewEvidence", "find_evidence"]

_Floats = NDArray[np.float64]
_Lead = Callable[[Scores], _Floats]

_N_STEPS = 64
_SLOPE_STEP = 0.02


@dataclass(frozen=True, slots=True)
class Detail:
    """One part of a view, such as one word.

    Attributes
    ----------
    name : str
        What it is.
    contribution : float
        Its share of the lead.
    """

    name: str
    contribution: float


@dataclass(frozen=True, slots=True)
class ViewEvidence:
    """What one view of the features adds to the lead of the chosen model.

    Attributes
    ----------
    view : str
        The view.
    contribution : float
        Above 0 it speaks for the chosen model, below 0 for the other one.
    details : tuple of Detail
        Parts of it that can be named, the greatest first; they need not add up to it.
    """

    view: str
    contribution: float
    details: tuple[Detail, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where the lead of one model over another comes from.

    Attributes
    ----------
    chosen, other : str
        Ids of the two models.
    start : float
        Lead of the first over the second for an average training prompt without n-grams.
    lead : float
        Lead for the prompt; start and contributions add up to it.
    views : tuple of ViewEvidence
        By falling size of the contribution.
    """

    chosen: str
    other: str
    start: float
    lead: float
    views: tuple[ViewEvidence, ...]


def find_evidence(
    artifact: Artifact,
    extractor: FeatureExtractor,
    prompt: Prompt,
    features: Features,
    lead: _Lead,
    chosen: str,
    other: str,
    n_details: int,
) -> Evidence:
    """Split the lead of one model over another among the parts of the features.

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
    lead : callable
        From scores of n prompts to the lead, of shape (n,).
    chosen, other : str
        Ids of the two models.
    n_details : int
        Details to name in a view.

    Returns
    -------
    Evidence
        In the unit of `lead`.
    """
    model = artifact.model
    parts = parts_of(artifact, extractor, prompt, features)
    start = model.intercept.astype(np.float64) + sum(part.start for part in parts.values())
    way = sum((part.here - part.start for part in parts.values()), np.zeros_like(start))
    characters = float(max(len(prompt_text(prompt).text), 1))
    slope, ends = _mean_slope(model, start, way, characters, lead)
    views = [
        ViewEvidence(
            view=view,
            contribution=float((part.here - part.start) @ slope),
            details=_details(part, slope, n_details),
        )
        for view, part in parts.items()
    ]
    views.sort(key=lambda found: -abs(found.contribution))
    return Evidence(chosen, other, float(ends[0]), float(ends[1]), tuple(views))


def _details(part: Part, slope: _Floats, n_details: int) -> tuple[Detail, ...]:
    if part.named is None:
        return ()
    shares = (part.named @ slope).tolist()
    named = [Detail(name, share) for name, share in zip(part.names, shares, strict=True) if share]
    named.sort(key=lambda detail: -abs(detail.contribution))
    return tuple(named[:n_details])


def _mean_slope(
    model: RouterModel, start: _Floats, way: _Floats, characters: float, lead: _Lead
) -> tuple[_Floats, _Floats]:
    """Return the mean slope of the lead along the way, and the lead at its two ends.

    The links of the router are kept and its weights replaced, so that its features become a place
    on the way and steps to the side along each latent.
    """
    n_latents = start.size
    scaler = replace(
        model.scaler,
        mean=np.zeros(1 + n_latents, np.float32),
        scale=np.ones(1 + n_latents, np.float32),
        idf=np.ones(0, np.float32),
        frequencies=np.zeros((1 + n_latents, 0), np.float32),
        n_embedding=1 + n_latents,
    )
    along = replace(
        model,
        scaler=scaler,
        dense_weights=np.vstack([way, _SLOPE_STEP * np.eye(n_latents)]).astype(np.float32),
        ngram_weights=np.zeros((0, n_latents), np.float16),
        intercept=start.astype(np.float32),
        neighbours=None,
        cluster_centres=np.zeros((0, 1 + n_latents), np.float32),
        cluster_values=np.zeros((0, n_latents), np.float32),
        trees=None,
    )
    places = (np.arange(_N_STEPS) + 0.5) / _N_STEPS
    side = np.hstack([np.zeros((n_latents, 1)), np.eye(n_latents)])
    on_way = np.zeros((_N_STEPS, 1 + n_latents))
    on_way[:, 0] = places
    ends = np.zeros((2, 1 + n_latents))
    ends[1, 0] = 1.0
    rows = np.concatenate(
        [ends, *((on_way[:, None] + sign * side).reshape(-1, 1 + n_latents) for sign in (1, -1))]
    )
    features = Features(
        dense=rows.astype(np.float32),
        profile=np.zeros((len(rows), 0), np.float32),
        indptr=np.zeros(len(rows) + 1, np.int64),
        indices=np.zeros(0, np.int32),
        values=np.zeros(0, np.float32),
        n_columns=0,
        n_embedding=1 + n_latents,
    )
    found = lead(along.score(features, np.full(len(rows), characters)))
    up, down = found[2:].reshape(2, _N_STEPS, n_latents)
    return (up - down).mean(axis=0) / (2.0 * _SLOPE_STEP), found[:2]
