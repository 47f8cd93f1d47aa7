"""The baselines that a monitor compares a router's traffic with.

Two kinds of prompts show what the router is like on prompts that it has not seen: its training
prompts, with predictions out of fold, and those that were held out of training altogether.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.artifact import Artifact
from router.eval.protocol import QUALITY_BARS
from router.features import Features
from router.model import Scores
from router.monitor import Baseline, Baselines
from router.novelty import NoveltyGuard
from router.promises import Promises
from router.request import Request
from router.training.fitting import FittedRouter
from router.training.targets import Targets

__all__ = ["UnseenPrompts", "held_out", "monitor_baselines", "out_of_fold"]

_Floats = NDArray[np.float64]

_CONFIDENCE = 0.9  # the one that requests have where they do not say
_MAX_LEVELS = 1_000


@dataclass(frozen=True, slots=True)
class UnseenPrompts:
    """What the router expected of prompts that it had not seen, and what happened.

    Attributes
    ----------
    expected_quality, probability, expected_energy_j : ndarray of shape (n, n_models)
        What it expected, energy in joules.
    quality : ndarray of shape (n, n_models)
        What happened; NaN where a model was not run.
    novelty : ndarray of shape (n,), optional
        Novelty of the prompts; None where the guard was fitted on them.
    """

    expected_quality: _Floats
    probability: _Floats
    expected_energy_j: _Floats
    quality: _Floats
    novelty: _Floats | None = None


def out_of_fold(fitted: FittedRouter, targets: Targets) -> UnseenPrompts:
    """Return the training prompts with what was expected of them out of fold.

    Parameters
    ----------
    fitted : FittedRouter
        What training found.
    targets : Targets
        What it was trained on.
    """
    evidence = fitted.evidence
    m = targets.n_models
    return UnseenPrompts(
        expected_quality=evidence.quality,
        probability=fitted.model.recalibration.probability(evidence.quality),
        expected_energy_j=evidence.energy_j,
        quality=np.where(targets.observed, targets.quality, np.nan)[:, :m],
    )


def held_out(
    artifact: Artifact, scores: Scores, features: Features, quality: _Floats
) -> UnseenPrompts:
    """Return prompts that training did not touch, with what the router expects of them.

    Parameters
    ----------
    artifact : Artifact
        The router.
    scores : Scores
        What it expects of n prompts.
    features : Features
        Their features.
    quality : ndarray of shape (n, n_models)
        What happened; NaN where a model was not run.
    """
    return UnseenPrompts(
        expected_quality=scores.quality,
        probability=scores.probability,
        expected_energy_j=artifact.pool.joules(scores.prompt_tokens, scores.completion_tokens),
        quality=quality,
        novelty=None if artifact.guard is None else artifact.guard.novelty(features),
    )


def monitor_baselines(
    artifact: Artifact, unseen: Sequence[UnseenPrompts], bars: Sequence[float] = QUALITY_BARS
) -> Baselines:
    """Route unseen prompts as the router would at each bar, and keep what came of it.

    Parameters
    ----------
    artifact : Artifact
        The router, calibrated if it is to be.
    unseen : sequence of UnseenPrompts
        The prompts.
    bars : sequence of float
        Quality bars.

    Returns
    -------
    Baselines
        One for each bar, to be stored in the lineage under ``LINEAGE_KEY``.
    """
    ids = [model.api_id for model in artifact.pool.models]
    names = np.array(ids, dtype=object)
    promises = Promises(artifact.calibration, artifact.dial)
    novelty = _novelty(artifact.guard, unseen)
    found = []
    for bar in bars:
        promise = promises.promise(bar, _CONFIDENCE, None)
        request = Request.build(
            bar, promise.setting, None, None, ids, artifact.reference, artifact.dial.means
        )
        chosen, probability, quality = [], [], []
        for prompts in unseen:
            columns = _chosen(request, prompts, artifact.guard)
            rows = np.arange(len(columns))
            graded = prompts.quality[rows, columns]
            known = ~np.isnan(graded)
            chosen += names[columns[known]].tolist()
            probability += prompts.probability[rows, columns][known].tolist()
            quality += graded[known].tolist()
        found.append(
            Baseline.of_answers(ids, chosen, probability, quality, novelty=novelty, bar=bar)
        )
    return Baselines(tuple(found))


def _chosen(
    request: Request, prompts: UnseenPrompts, guard: NoveltyGuard | None
) -> NDArray[np.int64]:
    """Return the column that the router chooses for each prompt."""
    expected = prompts.expected_quality, prompts.expected_energy_j, prompts.probability
    columns = request.rank(*expected)[:, 0]
    if guard is not None and prompts.novelty is not None:
        novel = prompts.novelty >= guard.level
        if novel.any():
            careful = request.beyond_training(guard)
            columns[novel] = careful.rank(*(part[novel] for part in expected))[:, 0]
    return columns


def _novelty(guard: NoveltyGuard | None, unseen: Sequence[UnseenPrompts]) -> _Floats:
    """Return the novelty of unseen prompts; of those that the guard was made with if need be."""
    if guard is None:
        return np.zeros(0)
    measured = [prompts.novelty for prompts in unseen if prompts.novelty is not None]
    if measured:
        return np.concatenate(measured)
    # evenly spread by construction, and counted in the guard's own steps
    n = min(round(1.0 / (1.0 - float(guard.levels[-1]))) - 1, _MAX_LEVELS)
    steps = guard.levels.searchsorted(np.arange(1, n + 1) / (n + 1), side="right")
    return np.where(steps > 0, guard.levels[steps - 1], 0.0)
