"""Calibration of a router: certificates from graded prompts that training never saw."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil

import numpy as np
from numpy.typing import NDArray

from router.calibration import ALL_TRAFFIC, Calibration, GroupEvidence
from router.clusters import PromptClusters
from router.dial import Dial, Setting
from router.model import Scores
from router.pool import Pool
from router.training.certify.floors import floor_evidence
from router.training.certify.kinds import MIN_PROMPTS_A_KIND
from router.training.certify.paired import gather
from router.training.certify.path import path_choices
from router.training.certify.sequence import BARS, certified_table

__all__ = [
    "CALIBRATION_SHARE",
    "CONFIDENCES",
    "MIN_PROMPTS",
    "CalibrationPrompts",
    "calibrate",
    "calibration_prompts",
    "distinct_texts",
    "hold_out",
    "today",
    "why_none_held_out",
]

_Floats = NDArray[np.float64]
_Index = NDArray[np.int64]

CALIBRATION_SHARE = 0.25
"""Share of the prompts that training holds out."""

CONFIDENCES = (0.80, 0.90, 0.95, 0.99)
"""Confidences that there are promises for."""

MIN_PROMPTS = 100
"""With fewer calibration prompts hardly a bar could be certified: none are held out."""

_HASH_RANGE = 2.0**48
_DIGITS = 6
_LEAST_ENERGY_J = 1e-12


@dataclass(frozen=True, slots=True)
class CalibrationPrompts:
    """What the router expected of the calibration prompts, and what happened.

    Attributes
    ----------
    expected_quality, probability, expected_energy_j : ndarray of shape (n, n_models)
        What the router expected.
    quality, energy_j : ndarray of shape (n, n_models)
        What happened.
    groups : tuple of str
        The kind of each prompt; empty where there is none.
    draws : ndarray of shape (n,)
        A number in [0, 1) that each prompt's text decides, ascending.
    """

    expected_quality: _Floats
    probability: _Floats
    expected_energy_j: _Floats
    quality: _Floats
    energy_j: _Floats
    groups: tuple[str, ...]
    draws: _Floats

    def __len__(self) -> int:
        return len(self.draws)


def hold_out(
    groups: NDArray[np.integer], complete: NDArray[np.bool_], share: float, seed: int
) -> tuple[_Index, _Index]:
    """Hold whole groups of prompts out of training.

    Parameters
    ----------
    groups : ndarray of shape (n,)
        Prompts of one group stay together.
    complete : ndarray of shape (n,)
        Prompts that every model of the pool was graded on. Only groups of such prompts are held
        out, because what a setting keeps is not known on others.
    share : float
        Share of those groups, in [0, 1).
    seed : int
        Seed of the draw.

    Returns
    -------
    training, calibration : ndarray of int
        Positions, ascending; nothing is held out where that would be fewer than 100 groups.
    """
    member, candidates = _whole_groups(groups, complete)
    n_held = int(share * len(candidates))
    if n_held < MIN_PROMPTS:
        return np.arange(len(groups)), np.zeros(0, np.int64)
    # apart from the folds, which are drawn from the seed itself
    rng = np.random.default_rng([seed, len(candidates)])
    held = np.isin(member, rng.permutation(candidates)[:n_held])
    return np.flatnonzero(~held), np.flatnonzero(held)


def why_none_held_out(
    groups: NDArray[np.integer], complete: NDArray[np.bool_], share: float
) -> str:
    """Say how many graded prompts a share would have to be taken of.

    Parameters
    ----------
    groups, complete, share
        As in :func:`hold_out`, which held none out.
    """
    n_graded = len(_whole_groups(groups, complete)[1])
    n_needed = ceil(MIN_PROMPTS / share)
    n_needed += int(share * n_needed) < MIN_PROMPTS  # where the product is rounded down
    return (
        f"nothing is promised: a share of {share:g} of {n_graded:,} prompts with grades of every "
        f"model is fewer than the {MIN_PROMPTS} that certify. It takes {n_needed:,} such prompts, "
        "or `wattroute calibrate` with new ones"
    )


def _whole_groups(
    groups: NDArray[np.integer], complete: NDArray[np.bool_]
) -> tuple[_Index, _Index]:
    """Return the number of each prompt's group, and the groups without gaps in their grades."""
    _, member = np.unique(groups, return_inverse=True)
    return member, np.flatnonzero(np.bincount(member, ~complete) == 0)


def calibration_prompts(
    scores: Scores,
    pool: Pool,
    quality: _Floats,
    energy_j: _Floats,
    groups: Sequence[str],
    hashes: _Index,
    *,
    familiar: NDArray[np.bool_] | None = None,
) -> CalibrationPrompts:
    """Put calibration prompts in the order of their hashes, each text once.

    Parameters
    ----------
    scores : Scores
        What the router expects of n prompts.
    pool : Pool
        The candidates.
    quality, energy_j : ndarray of shape (n, n_models)
        What happened, without NaN.
    groups : sequence of str
        The kind of each prompt; empty where there is none.
    hashes : ndarray of shape (n,)
        48-bit hashes of the texts.
    familiar : ndarray of shape (n,), optional
        Prompts that the novelty guard lets pass; the promise is about those. All where absent.

    Returns
    -------
    CalibrationPrompts
        Repeated texts would not be independent evidence: the first one counts.
    """
    counting = np.arange(len(hashes)) if familiar is None else np.flatnonzero(familiar)
    first, draws = distinct_texts(hashes[counting])
    first = counting[first]
    expected_j = pool.joules(scores.prompt_tokens, scores.completion_tokens)
    return CalibrationPrompts(
        expected_quality=scores.quality[first],
        probability=scores.probability[first],
        expected_energy_j=expected_j[first],
        quality=quality[first],
        energy_j=energy_j[first],
        groups=tuple(groups[i] for i in first),
        draws=draws,
    )


def distinct_texts(hashes: _Index) -> tuple[_Index, _Floats]:
    """Return the first prompt of each text, and a number in [0, 1) that the text decides.

    Parameters
    ----------
    hashes : ndarray of shape (n,)
        48-bit hashes of the texts.

    Returns
    -------
    first : ndarray of int
        Positions in the order of the hashes.
    draws : ndarray of float
        The numbers, ascending: for :func:`router.training.certify.paired.rounded`.
    """
    texts, first = np.unique(hashes, return_index=True)
    return first.astype(np.int64), texts / _HASH_RANGE


def calibrate(
    prompts: CalibrationPrompts,
    path: Sequence[Setting],
    dial: Dial,
    reference: int,
    *,
    method: str,
    data_digest: str,
    date: str | None = None,
    clusters: PromptClusters | None = None,
) -> Calibration:
    """Certify the settings of a path on calibration prompts.

    Parameters
    ----------
    prompts : CalibrationPrompts
        Prompts that neither training nor the path nor the method depends on.
    path : sequence of Setting
        Settings in the order of testing.
    dial : Dial
        What training measured.
    reference : int
        Column of the reference model.
    method : str
        A key of :data:`router.training.certify.paired.METHODS`.
    data_digest : str
        Digest of the runs.
    date : str, optional
        Day of the calibration; today where absent.
    clusters : PromptClusters, optional
        What the kinds of prompts are, where they were discovered.

    Returns
    -------
    Calibration
        For all traffic, and for each kind of prompts with at least 50 of them.
    """
    kinds = np.array(prompts.groups, dtype=object)
    names = sorted(name for name in set(prompts.groups) if name)
    members = {ALL_TRAFFIC: np.arange(len(prompts))}
    members |= {name: np.flatnonzero(kinds == name) for name in names}
    rows = np.arange(len(prompts))
    chosen = path_choices(path, prompts.expected_quality, prompts.expected_energy_j, dial.means)
    quality, energy_j = prompts.quality[rows, chosen], prompts.energy_j[rows, chosen]
    found = [
        _group(
            name,
            quality[:, index],
            energy_j[:, index],
            prompts.quality[index, reference],
            prompts.energy_j[index, reference],
            prompts.draws[index],
            method,
        )
        for name, index in members.items()
        if name == ALL_TRAFFIC or len(index) >= MIN_PROMPTS_A_KIND
    ]
    by_estimate = dict.fromkeys(dial.setting_for(bar) for bar in BARS)
    return Calibration(
        path=tuple(path),
        confidences=CONFIDENCES,
        bars=BARS,
        groups=tuple(found),
        floors=floor_evidence(
            prompts.expected_quality,
            prompts.probability,
            prompts.expected_energy_j,
            prompts.quality,
            tuple(by_estimate | {None: None}),
            dial.means,
            reference,
            CONFIDENCES,
        ),
        method=method,
        date=date or today(),
        data_digest=data_digest,
        clusters=clusters,
    )


def today() -> str:
    """Return the day, or that of ``SOURCE_DATE_EPOCH`` where a build must come out the same."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    moment = datetime.now(UTC) if epoch is None else datetime.fromtimestamp(int(epoch), UTC)
    return moment.date().isoformat()


def _group(
    name: str,
    quality: _Floats,
    energy_j: _Floats,
    reference: _Floats,
    reference_j: _Floats,
    draws: _Floats,
    method: str,
) -> GroupEvidence:
    """Certify the settings on one kind of prompts."""
    evidence = gather(method, quality, reference, draws)
    base = float(reference.mean())
    kept = quality.mean(axis=1) / base if base > 0.0 else np.zeros(len(quality))
    spread = (quality - kept[:, None] * reference).std(axis=1) / (base or 1.0)
    energy = energy_j.mean(axis=1) / max(float(reference_j.mean()), _LEAST_ENERGY_J)
    return GroupEvidence(
        name=name,
        n=len(reference),
        reference_quality=round(base, _DIGITS),
        kept=_rounded(kept),
        energy=_rounded(energy),
        spread=_rounded(spread),
        steps=certified_table(evidence, [1.0 - confidence for confidence in CONFIDENCES]),
    )


def _rounded(numbers: _Floats) -> tuple[float, ...]:
    return tuple(np.round(numbers, _DIGITS).tolist())
