"""Fitting of the guard: what the training prompts look like, and what to trust beyond them."""

from __future__ import annotations

import math
import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from router.eval.protocol import feature_rows
from router.features import Features
from router.neighbourhood import Neighbourhood, PromptSpace, word_sketch
from router.novelty import NoveltyGuard
from router.remembered import RememberedPrompts
from router.training.crossfit import assign_folds

__all__ = ["FALSE_ALARMS", "fit_guard", "fit_neighbourhood", "trusted_reach"]

_Floats = NDArray[np.float64]
_Index = NDArray[np.integer]

FALSE_ALARMS = 0.02
"""Share of new prompts like those of training that may count as unlike them."""

_MAX_PROMPTS = 8_000
_N_FOLDS = 5
_STATISTICS_WEIGHT = 2.0
_CLIP = 4.0
_MAX_SKETCH = 128
_MAX_DIMENSIONS = 96
_MAX_BANK = 1536
_N_NEIGHBOURS = 4
_LEAST_RADIUS = 0.1
_BODY_LEVELS = 128
_TAIL_LEVELS = 64
_TAIL = 0.95
_CLUSTER_PROMPTS = 25
_MAX_CLUSTERS = 20
_DEVIATIONS = 2.0
_BARS = np.linspace(0.0, 1.0, 201)


def fit_guard(
    features: Features,
    groups: _Index,
    quality: _Floats,
    reference: int,
    *,
    hashes: NDArray[np.int64] | None = None,
    seed: int = 0,
) -> NoveltyGuard:
    """Learn what the training prompts look like, and which models to trust beyond them.

    What new prompts are compared with are the scores of training prompts that were held out, so
    that at most about 2 % of new prompts like those of training count as unlike them: one in
    n + 1 where there are n < 49 texts.

    Parameters
    ----------
    features : Features
        Features of the n training prompts.
    groups : ndarray of shape (n,)
        Prompts of one group are one text.
    quality : ndarray of shape (n, n_models)
        Outcomes of the pool's models; NaN where a model was not run.
    reference : int
        Column of the reference model.
    hashes : ndarray of shape (n,), optional
        Hashes of the prompts, to be remembered together with the outcomes.
    seed : int
        Seed of all that is random.

    Returns
    -------
    NoveltyGuard
        Ready to serve.

    Raises
    ------
    ValueError
        If there are fewer than four distinct prompts.
    """
    rng = np.random.default_rng(seed)
    # one prompt a text: copies would be each other's neighbours
    rows = np.unique(groups, return_index=True)[1]
    if len(rows) < 4:
        raise ValueError(f"{len(rows)} distinct prompts: at least four are needed")
    if len(rows) > _MAX_PROMPTS:
        rows = np.sort(rng.choice(rows, _MAX_PROMPTS, replace=False))
    distinct = feature_rows(features, rows)
    held_out = np.empty(len(rows))
    with threadpool_limits(1):
        fold = assign_folds(np.arange(len(rows)), min(_N_FOLDS, len(rows)), seed)
        for f in np.unique(fold):
            seen, _ = fit_neighbourhood(feature_rows(distinct, np.flatnonzero(fold != f)), rng)
            held_out[fold == f] = seen.score(feature_rows(distinct, np.flatnonzero(fold == f)))
        neighbourhood, bank = fit_neighbourhood(distinct, rng)
        cluster = _clusters(
            neighbourhood.space.coordinates(distinct) @ neighbourhood.projection, seed
        )
    remembered = None
    if hashes is not None:
        remembered = RememberedPrompts(hashes[rows[bank]], quality[rows[bank]])
    n, kept = len(rows), _kept_ranks(len(rows))
    return NoveltyGuard(
        neighbourhood=neighbourhood,
        scores=np.sort(held_out)[kept - 1],
        levels=kept / (n + 1),
        level=_alarm_rank(n) / (n + 1),
        reach=trusted_reach(quality[rows], cluster, reference),
        remembered=remembered,
    )


def fit_neighbourhood(features: Features, rng: np.random.Generator) -> tuple[Neighbourhood, _Index]:
    """Lay out distinct training prompts.

    Parameters
    ----------
    features : Features
        Features of n prompts, at least two.
    rng : Generator
        Draws the prompts of the bank where there are more than it holds.

    Returns
    -------
    neighbourhood : Neighbourhood
        Ready to score other prompts.
    bank : ndarray of shape (n_bank,)
        The prompts that are in its bank.
    """
    space = _fit_space(features)
    coordinates = space.coordinates(features).astype(np.float64)
    n_dimensions = min(_MAX_DIMENSIONS, coordinates.shape[1])
    projection = np.linalg.eigh(coordinates.T @ coordinates)[1][:, ::-1][:, :n_dimensions]
    rows = np.arange(len(coordinates))
    if len(rows) > _MAX_BANK:
        rows = np.sort(rng.choice(rows, _MAX_BANK, replace=False))
    inside = coordinates[rows] @ projection
    square = (coordinates[rows] ** 2).sum(axis=1)
    bank = inside.astype(np.float16).astype(np.float32)
    # what rounding took from the bank is no distance from it
    offset = square - (inside**2).sum(axis=1) + (bank.astype(np.float64) ** 2).sum(axis=1)
    k = min(_N_NEIGHBOURS, len(rows) - 1)
    distance = offset[:, None] + square - 2.0 * (bank @ inside.T)
    np.fill_diagonal(distance, np.inf)
    nearest = np.sqrt(np.maximum(np.partition(distance, k - 1, axis=1)[:, :k].mean(axis=1), 0.0))
    neighbourhood = Neighbourhood(
        space=space,
        projection=projection.astype(np.float32),
        bank=bank,
        offset=offset.astype(np.float32),
        radius=(nearest + _LEAST_RADIUS * max(float(np.median(nearest)), 1e-3)).astype(np.float32),
        n_neighbours=k,
    )
    return neighbourhood, rows


def trusted_reach(quality: _Floats, cluster: _Index, reference: int) -> tuple[float, ...]:
    """Return the bar that each model is trusted to keep, on its own, on tasks not seen.

    A new kind of task is taken for one more cluster of prompts. A model keeps a bar on it if its
    mean quality less the reference model's share is two standard deviations above 0, in which
    clusters differ and their mean is uncertain.

    Parameters
    ----------
    quality : ndarray of shape (n, n_models)
        Outcomes; NaN where a model was not run.
    cluster : ndarray of shape (n,)
        Cluster of each prompt.
    reference : int
        Column of the reference model.

    Returns
    -------
    tuple of float
        For each model a share of the reference model's quality, in steps of half a percent; 1
        for the reference model, 0 where there is no telling.
    """
    return tuple(
        1.0 if j == reference else _reach(quality[:, j], quality[:, reference], cluster)
        for j in range(quality.shape[1])
    )


def _reach(quality: _Floats, base: _Floats, cluster: _Index) -> float:
    known = ~np.isnan(quality) & ~np.isnan(base)
    lost = quality[known, None] - base[known, None] * _BARS
    members = [lost[cluster[known] == c] for c in np.unique(cluster[known])]
    members = [rows for rows in members if len(rows) > 1]
    if len(members) < 2:
        return 0.0
    size = np.array([[len(rows)] for rows in members], np.float64)
    share = size / size.sum()
    mean = np.array([rows.mean(axis=0) for rows in members])
    noise = np.array([rows.var(axis=0, ddof=1) for rows in members]) / size
    overall = (share * mean).sum(axis=0)
    between = (share * ((mean - overall) ** 2 - noise)).sum(axis=0)
    variance = np.maximum(between, 0.0) + (share**2 * noise).sum(axis=0)
    kept = overall >= _DEVIATIONS * np.sqrt(variance)
    return float(_BARS[kept].max()) if kept.any() else 0.0


def _clusters(places: NDArray[np.float32], seed: int) -> NDArray[np.int32]:
    """Cluster prompts by where they lie."""
    n_clusters = int(np.clip(len(places) // _CLUSTER_PROMPTS, 2, _MAX_CLUSTERS))
    with warnings.catch_warnings():
        # prompts that are all alike are fewer clusters
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = KMeans(n_clusters, n_init=4, random_state=seed).fit(places)
    return np.asarray(fitted.labels_)


def _fit_space(features: Features) -> PromptSpace:
    """Scale embedding, statistics and sketch to mean squares of about 1, 4 and 1."""
    dense = features.dense.astype(np.float64)
    n_statistics = dense.shape[1] - features.n_embedding
    weight = np.empty(dense.shape[1])
    weight[: features.n_embedding] = 1.0 / math.sqrt(max(features.n_embedding, 1))
    weight[features.n_embedding :] = _STATISTICS_WEIGHT / math.sqrt(max(n_statistics, 1))
    deviation = dense.std(axis=0)
    constant = deviation < 1e-6
    scale = np.where(constant, 0.0, weight / np.where(constant, 1.0, deviation))
    # the number of columns of words is a power of two
    sketch = word_sketch(features, min(_MAX_SKETCH, features.n_columns // 2))
    return PromptSpace(
        centre=dense.mean(axis=0).astype(np.float32),
        scale=scale.astype(np.float32),
        limit=(_CLIP * weight).astype(np.float32),
        sketch_centre=sketch.mean(axis=0).astype(np.float32),
    )


def _alarm_rank(n: int) -> int:
    """Rank of the held-out score from which a prompt counts as unlike the n of training."""
    return min(n, math.ceil((n + 1) * (1.0 - FALSE_ALARMS)))


def _kept_ranks(n: int) -> NDArray[np.int64]:
    """Ranks of the held-out scores to keep, closer to each other where it matters."""
    split = round(_TAIL * n)
    body = np.linspace(1, split, min(split, _BODY_LEVELS))
    tail = np.linspace(split, n, min(n - split + 1, _TAIL_LEVELS))
    return np.unique(np.rint([*body, *tail, _alarm_rank(n)]).astype(np.int64))
