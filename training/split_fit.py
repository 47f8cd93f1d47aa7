"""A router fitted on the training prompts of one split, and what it expects of the test prompts."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.dial import dial_sweep
from router.eval.protocol import SERVED_BARS, BenchmarkSplit, Outcome
from router.eval.scoring import Truth, score
from router.eval.served import served_choices, served_figures, zero_mixtures
from router.pool import Pool
from router.training.fit_options import FitOptions
from router.training.fitting import Candidates, FittedRouter, fit_router
from router.training.held_out import expected_scores
from router.training.targets import Targets, build_targets

__all__ = ["SplitFit", "fit_split"]


@dataclass(frozen=True, slots=True)
class SplitFit:
    """A fitted router with its expectations of the test prompts.

    Attributes
    ----------
    fitted : FittedRouter
        The router.
    targets : Targets
        What it learned.
    outcome : Outcome
        Choices along its dial, probabilities of a good answer, expected energy and lengths.
    served : ndarray of shape (n_bars, n_test)
        Choices that it serves at the protocol's bars.
    train_s : float
        Seconds that training took.
    """

    fitted: FittedRouter
    targets: Targets
    outcome: Outcome
    served: NDArray[np.int64]
    train_s: float

    def figures(self, split: BenchmarkSplit, truth: Truth) -> dict[str, float]:
        """Return the protocol's figures and those of what is served, on the test prompts."""
        mixtures = zero_mixtures(split.means, truth.reference)
        return {
            **score(self.outcome, truth, split.seed).figures,
            **served_figures(self.served, mixtures, truth),
            "out_of_fold_log_energy_ratio": self.fitted.evidence.log_energy_ratio,
        }


def fit_split(
    split: BenchmarkSplit,
    pool: Pool,
    *,
    options: FitOptions | None = None,
    candidates: Candidates | None = None,
    n_jobs: int = 2,
) -> SplitFit:
    """Train on the training prompts of a split and decide its test prompts.

    Parameters
    ----------
    split : BenchmarkSplit
        Training prompts with outcomes, test prompts without.
    pool : Pool
        The candidates.
    options : FitOptions, optional
        Which parts of the router take part; all of them where absent.
    candidates : Candidates, optional
        Candidates that were fitted on this split; fitted here where absent.
    n_jobs : int
        Fits at a time.

    Returns
    -------
    SplitFit
        The router and its decisions.

    Raises
    ------
    DataError
        If there are too few training prompts.
    """
    options = options or FitOptions()
    started = time.perf_counter()
    targets = build_targets(split.train, split.extra, pool)
    fitted = fit_router(
        split.train_features,
        targets,
        split.train.groups,
        split.train_energy_j,
        pool,
        options=options,
        candidates=candidates,
        seed=split.seed,
        n_jobs=n_jobs,
    )
    train_s = time.perf_counter() - started
    scores = expected_scores(fitted, split.test_features, split.test_prompts)
    energy_j = pool.joules(scores.prompt_tokens, scores.completion_tokens)
    means, reference = fitted.dial.means, fitted.reference
    return SplitFit(
        fitted=fitted,
        targets=targets,
        outcome=Outcome(
            choices=dial_sweep(scores.quality, energy_j, means, reference, options.dial),
            quality=scores.probability,
            energy_j=energy_j,
            completion_tokens=scores.completion_tokens,
            served=served_choices(fitted.dial, scores.quality, energy_j, reference, SERVED_BARS),
        ),
        served=served_choices(fitted.dial, scores.quality, energy_j, reference),
        train_s=train_s,
    )
