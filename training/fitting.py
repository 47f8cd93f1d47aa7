"""Fitting a router: from targets and features to a model, a price table and their evidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from router.errors import DataError
from router.eval.frontier import energy_at_quality, operating_points, zero_router_points
from router.eval.protocol import QUALITY_BARS
from router.features import Features
from router.model import RouterModel
from router.policy import PriceTable, price_sweep
from router.pool import Pool
from router.training.blocks import fit_scaler
from router.training.collapse import collapse
from router.training.crossfit import CrossFit, assign_folds, cross_fit
from router.training.heads import HeadBank, TrainingBlocks
from router.training.lengths import FittedLengths, fit_lengths
from router.training.stacking import FittedStack, Stack, fit_stack, stack_variants
from router.training.targets import Targets

__all__ = ["Evidence", "FittedRouter", "fit_router"]

_Array = NDArray[np.float64]
_Progress = Callable[[str], None]

_MIN_PROMPTS = 20
_N_FOLDS = 4
_NESTED_LIMIT = 20_000
_TEMPERATURE = 0.03
_MIN_COMPLETE = 40


@dataclass(frozen=True, slots=True)
class Evidence:
    """What training measured on prompts that the heads had not seen.

    Attributes
    ----------
    quality, energy_j : ndarray of shape (n, n_models)
        Out-of-fold expectations.
    stack_scores : dict of str to float
        Out-of-fold ``log_energy_ratio`` of each way of stacking.
    stack_weights : dict of str to float
        Share of each way of stacking in the router.
    head_figures : dict of str to dict
        For each candidate head on its own: out-of-fold ``brier`` and ``log_energy_ratio``, and its
        total ``weight`` in the stacks.
    log_energy_ratio : float
        Out-of-fold figure of the router itself; NaN with too few complete prompts.
    """

    quality: _Array
    energy_j: _Array
    stack_scores: dict[str, float]
    stack_weights: dict[str, float]
    head_figures: dict[str, dict[str, float]]
    log_energy_ratio: float


@dataclass(frozen=True, slots=True)
class FittedRouter:
    """A router as training leaves it.

    Attributes
    ----------
    model : RouterModel
        Expected qualities and lengths.
    reference : int
        Column of the reference model.
    prices : PriceTable
        From quality bars to energy prices.
    lengths : FittedLengths
        The length head with its quantiles.
    evidence : Evidence
        Out-of-fold measurements.
    """

    model: RouterModel
    reference: int
    prices: PriceTable
    lengths: FittedLengths
    evidence: Evidence


def fit_router(
    features: Features,
    targets: Targets,
    groups: NDArray[np.integer],
    energy_j: _Array,
    pool: Pool,
    *,
    seed: int = 0,
    n_jobs: int = 2,
    progress: _Progress | None = None,
) -> FittedRouter:
    """Fit heads, stacks, lengths and prices on training prompts.

    Parameters
    ----------
    features : Features
        Features of the n training prompts.
    targets : Targets
        What to learn.
    groups : ndarray of shape (n,)
        Prompts of one group stay in one fold.
    energy_j : ndarray of shape (n, n_models)
        True energy in joules, as :func:`router.eval.protocol.true_energy` gives it.
    pool : Pool
        The candidates.
    seed : int
        Seed of all that is random.
    n_jobs : int
        Fits at a time.
    progress : callable, optional
        Called with a line of text after each step.

    Returns
    -------
    FittedRouter
        Model, prices and evidence.

    Raises
    ------
    DataError
        If there are fewer than 20 distinct prompts.
    """
    say = progress or (lambda line: None)
    n_groups = len(np.unique(groups))
    if n_groups < _MIN_PROMPTS:
        raise DataError(f"{n_groups} distinct graded prompts: at least {_MIN_PROMPTS} are needed")
    m = targets.n_models
    quality = np.where(targets.observed, targets.quality, np.nan)[:, :m]
    reference = _reference(quality, energy_j)

    with threadpool_limits(1):
        scaler = fit_scaler(features, seed=seed)
        bank = HeadBank(TrainingBlocks.build(scaler, features), seed=seed)
        stacked = targets.stacked()
        fold = assign_folds(groups, _N_FOLDS, seed)
        nested = len(features) <= _NESTED_LIMIT
        say(f"cross-fitting {len(bank.names)} heads on {len(features)} prompts")
        fits = cross_fit(bank, stacked, fold, nested=nested, n_jobs=n_jobs)

        say("stacking")
        n_quality = targets.quality.shape[1]
        lengths = fit_lengths(
            targets.log_tokens, targets.log_prompt_ratio, fits.outer[:, :, n_quality:]
        )
        energy = _expected_energy(lengths, fits.outer[:, :, n_quality:], targets, pool)
        variants = stack_variants(m, len(targets.extra))
        unseen = {v.name: _unseen_quality(v, targets, fits) for v in variants}
        scores = {
            name: _frontier_score(expected, energy, quality, energy_j, reference)
            for name, expected in unseen.items()
        }
        shares = _shares(scores)
        stacks = [_fit(v, targets, fits) for v in variants]
        expected = sum(
            (shares[name] * unseen[name] for name in unseen), start=np.zeros_like(quality)
        )
        prices = PriceTable.measure(expected, energy, quality, energy_j, reference)

        say("fitting on all prompts")
        model = collapse(bank.fit_final(stacked), stacks, shares, lengths, scaler, bank.scaled)
    return FittedRouter(
        model=model,
        reference=reference,
        prices=prices,
        lengths=lengths,
        evidence=Evidence(
            quality=expected,
            energy_j=energy,
            stack_scores=scores,
            stack_weights=shares,
            head_figures=_head_figures(
                bank.names, fits, stacks, shares, energy, quality, energy_j, reference
            ),
            log_energy_ratio=_frontier_score(expected, energy, quality, energy_j, reference),
        ),
    )


def _reference(quality: _Array, energy_j: _Array) -> int:
    """Column of the best mean quality; of equally good ones the least energy."""
    means = np.nanmean(quality, axis=0)
    return int(np.lexsort((energy_j.mean(axis=0), -means))[0])


def _fit(stack: Stack, targets: Targets, fits: CrossFit) -> FittedStack:
    n_quality = targets.quality.shape[1]
    candidates = fits.outer[:, :, :n_quality]
    return fit_stack(stack, targets.quality, targets.observed, candidates, targets.n_models)


def _unseen_quality(stack: Stack, targets: Targets, fits: CrossFit) -> _Array:
    """Qualities of each prompt by a stack that saw neither it nor anything learned from it."""
    n_quality = targets.quality.shape[1]
    expected = np.empty((len(targets.quality), targets.n_models))
    for f, inner in enumerate(fits.inner):
        seen = fits.fold != f
        fitted = fit_stack(
            stack,
            targets.quality[seen],
            targets.observed[seen],
            inner[:, seen, :n_quality],
            targets.n_models,
        )
        expected[~seen] = fitted.quality(fitted.latent(fits.outer[:, ~seen, :n_quality]))
    return expected


def _expected_energy(
    lengths: FittedLengths, candidates: NDArray[np.float32], targets: Targets, pool: Pool
) -> _Array:
    log_lengths = lengths.log_lengths(candidates)
    prompt_tokens = targets.characters * np.exp(log_lengths[:, -1])
    return np.asarray(pool.joules(prompt_tokens, lengths.tokens(log_lengths)))


def _frontier_score(
    expected: _Array, expected_energy: _Array, quality: _Array, energy_j: _Array, reference: int
) -> float:
    """``log_energy_ratio`` on the prompts that every model of the pool answered."""
    known = ~np.isnan(quality).any(axis=1)
    if known.sum() < _MIN_COMPLETE:
        return float("nan")
    truth, joules = quality[known], energy_j[known]
    choices = price_sweep(expected[known], expected_energy[known], reference)
    points = operating_points(choices, truth, joules)
    zero = zero_router_points(truth, joules, truth, joules)
    base = truth[:, reference].mean()
    limit = 2.0 * joules[:, reference].mean()
    ratios = [
        np.log(
            min(energy_at_quality(points, bar * base), limit)
            / min(energy_at_quality(zero, bar * base), limit)
        )
        for bar in QUALITY_BARS
    ]
    return float(np.mean(ratios))


def _shares(scores: dict[str, float]) -> dict[str, float]:
    """Weights that fall exponentially with a stack's distance from the best."""
    values = np.array(list(scores.values()))
    if np.isnan(values).any():
        return {name: 1.0 / len(scores) for name in scores}
    weights = np.exp((values.min() - values) / _TEMPERATURE)
    return dict(zip(scores, (weights / weights.sum()).tolist(), strict=True))


def _head_figures(
    names: tuple[str, ...],
    fits: CrossFit,
    stacks: list[FittedStack],
    shares: dict[str, float],
    energy: _Array,
    quality: _Array,
    energy_j: _Array,
    reference: int,
) -> dict[str, dict[str, float]]:
    weights = sum(
        (shares[s.stack.name] * s.weights.sum(axis=1) for s in stacks), start=np.zeros(len(names))
    )
    figures = {}
    for name, outer, weight in zip(names, fits.outer, weights, strict=True):
        alone = outer[:, : quality.shape[1]].astype(np.float64)
        figures[name] = {
            "brier": float(np.nanmean((alone - quality) ** 2)),
            "log_energy_ratio": _frontier_score(alone, energy, quality, energy_j, reference),
            "weight": float(weight),
        }
    return figures
