"""Certification of a fitted router on prompts that were held out of its training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.calibration import Calibration
from router.eval.matrix import AnswerMatrix, Prompt
from router.features import Features
from router.messages import prompt_text
from router.model import Scores
from router.novelty import NoveltyGuard
from router.pool import Pool
from router.training.calibration import calibrate, calibration_prompts
from router.training.certify.kinds import discover_kinds, labelled
from router.training.certify.paired import better_method
from router.training.certify.path import certification_path, path_choices
from router.training.fitting import FittedRouter

__all__ = ["GradedPrompts", "certify_held_out", "expected_scores"]

_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class GradedPrompts:
    """Prompts with their features and what the pool's models did on them.

    Attributes
    ----------
    cells : AnswerMatrix
        Runs of the pool's models, in its order.
    energy_j : ndarray of shape (n, n_models)
        True energy in joules.
    features : Features
        Features of the prompts.
    hashes : ndarray of shape (n,)
        48-bit hashes of the texts.
    """

    cells: AnswerMatrix
    energy_j: _Floats
    features: Features
    hashes: NDArray[np.int64]


def certify_held_out(
    fitted: FittedRouter,
    guard: NoveltyGuard,
    training: GradedPrompts,
    held: GradedPrompts,
    pool: Pool,
    *,
    data_digest: str,
    seed: int = 0,
) -> Calibration:
    """Certify a router: path and method by its training prompts, promises by others.

    Parameters
    ----------
    fitted : FittedRouter
        The router, with its out-of-fold evidence on the training prompts.
    guard : NoveltyGuard
        Prompts that it finds unlike those of training are left out: the promise is not for them.
    training, held : GradedPrompts
        What it was trained on, and what touched nothing of that, without gaps.
    pool : Pool
        The candidates.
    data_digest : str
        Digest of the runs.
    seed : int
        Seed of the kinds of prompts that are discovered where there are no task labels.
    """
    means, reference = fitted.dial.means, fitted.reference
    unseen = fitted.evidence.quality, fitted.evidence.energy_j
    truth = training.cells.quality
    path = certification_path(*unseen, truth, training.energy_j, means, reference, len(held.hashes))
    complete = np.flatnonzero(~np.isnan(truth).any(axis=1))
    chosen = path_choices(path, unseen[0][complete], unseen[1][complete], means)
    grades = truth[complete]
    method = better_method(grades[np.arange(len(grades)), chosen], grades[:, reference])
    kinds, clusters = held.cells.tasks, None
    if not labelled(kinds):
        scaler = fitted.model.scaler
        clusters = discover_kinds(training.features, scaler, len(kinds), seed=seed)
        if clusters is not None:
            kinds = tuple(clusters.names(held.features, scaler))
    prompts = calibration_prompts(
        expected_scores(fitted, held.features, held.cells.prompts),
        pool,
        held.cells.quality,
        held.energy_j,
        kinds,
        held.hashes,
        familiar=guard.novelty(held.features) < guard.level,
    )
    return calibrate(
        prompts,
        path,
        fitted.dial,
        reference,
        method=method,
        data_digest=data_digest,
        clusters=clusters,
    )


def expected_scores(
    fitted: FittedRouter, features: Features, prompts: tuple[Prompt, ...]
) -> Scores:
    """Return what a fitted router expects of prompts with these features."""
    characters = np.array([max(len(prompt_text(prompt).text), 1) for prompt in prompts], float)
    return fitted.model.score(features, characters)
