"""Fitting a router: from targets and features to a model, a dial and their evidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from router.blocks import BlockScaler
from router.dial import Dial, DialShape, PoolMeans, dial_sweep
from router.errors import ConfigError, DataError
from router.eval.frontier import operating_points, zero_router_points
from router.eval.gaps import mean_outcomes
from router.eval.metrics import log_energy_ratio
from router.eval.protocol import reference_model
from router.features import Features
from router.model import RouterModel
from router.pool import Pool
from router.training.blocks import fit_scaler
from router.training.collapse import collapse
from router.training.crossfit import CrossFit, assign_folds, cross_fit
from router.training.fit_options import FitOptions
from router.training.heads import FittedHead, HeadBank, TrainingBlocks
from router.training.lengths import FittedLengths, fit_lengths
from router.training.recalibrate import fit_recalibration
from router.training.stacking import FittedStack, Stack, fit_stack, stack_variants
from router.training.targets import Targets

__all__ = ["Candidates", "Evidence", "FittedRouter", "fit_candidates", "fit_router"]

_Array = NDArray[np.float64]
_Progress = Callable[[str], None]

_MIN_PROMPTS = 20
_N_FOLDS = 4
_NESTED_LIMIT = 20_000
_REPEATED_ROWS = 2_500
_MAX_REPEATS = 4
_TEMPERATURE = 0.03
_MIN_COMPLETE = 40
_PRUNING_GAIN = 0.01


@dataclass(frozen=True, slots=True)
class Candidates:
    """Candidate heads fitted on all prompts, and cross-fitted: what a fit spends its time on.

    Attributes
    ----------
    names : tuple of str
        Names of the candidates.
    fits : tuple of CrossFit
        Predictions for unseen prompts, one for each assignment of folds.
    heads : tuple of FittedHead
        The candidates, fitted on all prompts.
    scaler : BlockScaler
        The feature blocks.
    scaled : ndarray of shape (n, n_features)
        Scaled features of the prompts.
    """

    names: tuple[str, ...]
    fits: tuple[CrossFit, ...]
    heads: tuple[FittedHead, ...]
    scaler: BlockScaler
    scaled: NDArray[np.float32]

    def of(self, families: Sequence[str]) -> Candidates:
        """Return the candidates of some families, as if no other had been fitted."""
        index = [i for i, name in enumerate(self.names) if name.startswith(tuple(families))]
        if len(index) == len(self.names):
            return self
        fits = (
            CrossFit(fit.fold, fit.outer[index], tuple(inner[index] for inner in fit.inner))
            for fit in self.fits
        )
        return replace(
            self,
            names=tuple(self.names[i] for i in index),
            fits=tuple(fits),
            heads=tuple(self.heads[i] for i in index),
        )


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
    dial : Dial
        From quality bars to energy prices.
    lengths : FittedLengths
        The length head with its quantiles.
    evidence : Evidence
        Out-of-fold measurements.
    """

    model: RouterModel
    reference: int
    dial: Dial
    lengths: FittedLengths
    evidence: Evidence


def fit_candidates(
    features: Features,
    targets: Targets,
    groups: NDArray[np.integer],
    *,
    options: FitOptions | None = None,
    seed: int = 0,
    n_jobs: int = 2,
    progress: _Progress | None = None,
) -> Candidates:
    """Fit and cross-fit the candidate heads.

    Parameters
    ----------
    features, targets, groups, seed, n_jobs, progress
        As for :func:`fit_router`.
    options : FitOptions, optional
        Its blocks and heads are used.

    Returns
    -------
    Candidates
        To fit routers with that differ in what follows.

    Raises
    ------
    DataError
        If there are fewer than 20 distinct prompts.
    """
    say = progress or (lambda line: None)
    options = options or FitOptions()
    n_groups = len(np.unique(groups))
    if n_groups < _MIN_PROMPTS:
        raise DataError(f"{n_groups} distinct graded prompts: at least {_MIN_PROMPTS} are needed")
    with threadpool_limits(1):
        scaler = fit_scaler(features, seed=seed, blocks=options.blocks)
        blocks = TrainingBlocks.build(scaler, features)
        bank = HeadBank(blocks, seed=seed, families=options.heads)
        stacked = targets.stacked()
        nested = len(features) <= _NESTED_LIMIT
        # Few prompts leave the stacks to the luck of the folds: several assignments average it.
        n_repeats = int(np.clip(_REPEATED_ROWS // len(features), 1, _MAX_REPEATS))
        say(f"cross-fitting {len(bank.names)} heads on {len(features)} prompts")
        fits = tuple(
            cross_fit(
                bank,
                stacked,
                assign_folds(groups, _N_FOLDS, seed + repeat),
                nested=nested,
                n_jobs=n_jobs,
            )
            for repeat in range(n_repeats)
        )
        say("fitting on all prompts")
        return Candidates(bank.names, fits, tuple(bank.fit_final(stacked)), scaler, bank.scaled)


def fit_router(
    features: Features,
    targets: Targets,
    groups: NDArray[np.integer],
    energy_j: _Array,
    pool: Pool,
    *,
    options: FitOptions | None = None,
    candidates: Candidates | None = None,
    seed: int = 0,
    n_jobs: int = 2,
    progress: _Progress | None = None,
) -> FittedRouter:
    """Fit heads, stacks, lengths and the dial on training prompts.

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
    options : FitOptions, optional
        Which parts take part; all of them where absent.
    candidates : Candidates, optional
        Candidates that were fitted on the same prompts with the same blocks; of them the
        families of `options` take part. Fitted here where absent.
    seed : int
        Seed of all that is random.
    n_jobs : int
        Fits at a time.
    progress : callable, optional
        Called with a line of text after each step.

    Returns
    -------
    FittedRouter
        Model, dial and evidence.

    Raises
    ------
    DataError
        If there are fewer than 20 distinct prompts.
    ConfigError
        If `options` names no way of stacking that fits the pool.
    """
    say = progress or (lambda line: None)
    options = options or FitOptions()
    if candidates is None:
        candidates = fit_candidates(
            features,
            targets,
            groups,
            options=options,
            seed=seed,
            n_jobs=n_jobs,
            progress=progress,
        )
    candidates = candidates.of(options.heads)
    fits, n_repeats = candidates.fits, len(candidates.fits)
    m = targets.n_models
    quality = np.where(targets.observed, targets.quality, np.nan)[:, :m]
    filled = targets.quality[:, :m]
    reference = reference_model(quality, energy_j)

    with threadpool_limits(1):
        say("stacking")
        n_quality = targets.quality.shape[1]
        lengths = fit_lengths(
            np.tile(targets.log_tokens, (n_repeats, 1)),
            np.tile(targets.log_prompt_ratio, n_repeats),
            np.concatenate([fit.outer[:, :, n_quality:] for fit in fits], axis=1),
            ran=np.tile(targets.ran, (n_repeats, 1)),
            copies=n_repeats,
            by_prompt=options.length_head,
        )
        outer = np.mean([fit.outer for fit in fits], axis=0)
        energy = _expected_energy(lengths, outer[:, :, n_quality:], targets, pool)
        variants = _variants(options, m, len(targets.extra))
        evidence = options.evidence_shrinkage
        unseen = {v.name: _unseen_quality(v, targets, fits, evidence) for v in variants}
        judge = _Judge(energy, quality, energy_j, reference, options.dial)
        scores = {name: judge.score(expected) for name, expected in unseen.items()}
        shares = _shares(scores)
        stacks = [_fit(v, targets, fits, evidence) for v in variants]
        expected = sum(
            (shares[name] * unseen[name] for name in unseen), start=np.zeros_like(quality)
        )
        # With hardly a prompt that every model answered, filled gaps are the lesser evil: they
        # know nothing of the text, so that a model chosen for it only gets its mean.
        measured, spent = quality, energy_j
        if _complete(quality).sum() < _MIN_COMPLETE:
            measured, spent = filled, np.where(targets.ran, energy_j, energy)
        means = mean_outcomes(quality, energy_j)
        pruned = tuple(j for j in means.dominated() if j != reference)
        score = judge.score(expected)
        if pruned and options.pruning:
            without = judge.score(expected, pruned)
            if without < score - _PRUNING_GAIN:
                means, score = replace(means, pruned=pruned), without
        dial = Dial.measure(expected, energy, measured, spent, means, reference, options.dial)

        model = collapse(
            candidates.heads,
            stacks,
            shares,
            lengths,
            candidates.scaler,
            candidates.scaled,
            fit_recalibration(expected, quality),
        )
    return FittedRouter(
        model=model,
        reference=reference,
        dial=dial,
        lengths=lengths,
        evidence=Evidence(
            quality=expected,
            energy_j=energy,
            stack_scores=scores,
            stack_weights=shares,
            head_figures=_head_figures(candidates.names, outer, stacks, shares, judge),
            log_energy_ratio=score,
        ),
    )


def _complete(quality: _Array) -> NDArray[np.bool_]:
    """Which prompts every model of the pool answered."""
    return np.asarray(~np.isnan(quality).any(axis=1))


def _variants(options: FitOptions, n_models: int, n_extra: int) -> tuple[Stack, ...]:
    """Return the ways of stacking that take part."""
    fitting = stack_variants(n_models, n_extra if options.extra_models else 0)
    if options.stacks is None:
        return fitting
    kept = tuple(stack for stack in fitting if stack.name in options.stacks)
    if not kept:
        raise ConfigError(
            f"stacks is {options.stacks!r}: this pool has {', '.join(s.name for s in fitting)}"
        )
    return kept


def _fit(stack: Stack, targets: Targets, fits: Sequence[CrossFit], evidence: bool) -> FittedStack:
    n_quality = targets.quality.shape[1]
    return fit_stack(
        stack,
        np.tile(targets.quality, (len(fits), 1)),
        np.tile(targets.observed, (len(fits), 1)),
        np.concatenate([fit.outer[:, :, :n_quality] for fit in fits], axis=1),
        targets.n_models,
        copies=len(fits),
        evidence=evidence,
    )


def _unseen_quality(
    stack: Stack, targets: Targets, fits: Sequence[CrossFit], evidence: bool
) -> _Array:
    """Qualities of each prompt by a stack that saw neither it nor anything learned from it."""
    n_quality = targets.quality.shape[1]
    expected = np.zeros((len(targets.quality), targets.n_models))
    for fit in fits:
        for f, inner in enumerate(fit.inner):
            seen = fit.fold != f
            fitted = fit_stack(
                stack,
                targets.quality[seen],
                targets.observed[seen],
                inner[:, seen, :n_quality],
                targets.n_models,
                evidence=evidence,
            )
            latent = fitted.latent(fit.outer[:, ~seen, :n_quality])
            expected[~seen] += fitted.quality(latent) / len(fits)
    return expected


def _expected_energy(
    lengths: FittedLengths, candidates: NDArray[np.float32], targets: Targets, pool: Pool
) -> _Array:
    log_lengths = lengths.log_lengths(candidates)
    prompt_tokens = targets.characters * np.exp(log_lengths[:, -1])
    return np.asarray(pool.joules(prompt_tokens, lengths.tokens(log_lengths)))


@dataclass(frozen=True, slots=True)
class _Judge:
    """Judges expectations by the frontier that they lead to."""

    expected_energy_j: _Array
    quality: _Array
    energy_j: _Array
    reference: int
    shape: DialShape

    def score(self, expected: _Array, pruned: tuple[int, ...] = ()) -> float:
        """``log_energy_ratio`` on the prompts that every model of the pool answered."""
        known = _complete(self.quality)
        if known.sum() < _MIN_COMPLETE:
            return float("nan")
        truth, joules = self.quality[known], self.energy_j[known]
        means = replace(PoolMeans.of(truth, joules), pruned=pruned)
        choices = dial_sweep(
            expected[known], self.expected_energy_j[known], means, self.reference, self.shape
        )
        points = operating_points(choices, truth, joules)
        zero = zero_router_points(truth, joules, truth, joules)
        fixed = np.array([joules[:, self.reference].mean(), truth[:, self.reference].mean()])
        return log_energy_ratio(points, zero, fixed)


def _shares(scores: dict[str, float]) -> dict[str, float]:
    """Weights that fall exponentially with a stack's distance from the best."""
    values = np.array(list(scores.values()))
    if np.isnan(values).any():
        return {name: 1.0 / len(scores) for name in scores}
    weights = np.exp((values.min() - values) / _TEMPERATURE)
    return dict(zip(scores, (weights / weights.sum()).tolist(), strict=True))


def _head_figures(
    names: tuple[str, ...],
    outer: NDArray[np.float32],
    stacks: list[FittedStack],
    shares: dict[str, float],
    judge: _Judge,
) -> dict[str, dict[str, float]]:
    weights = sum(
        (shares[s.stack.name] * s.weights.sum(axis=1) for s in stacks), start=np.zeros(len(names))
    )
    figures = {}
    for name, predicted, weight in zip(names, outer, weights, strict=True):
        alone = predicted[:, : judge.quality.shape[1]].astype(np.float64)
        figures[name] = {
            "brier": float(np.nanmean((alone - judge.quality) ** 2)),
            "log_energy_ratio": judge.score(alone),
            "weight": float(weight),
        }
    return figures
