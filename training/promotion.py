"""Whether a challenger is better than the champion, on prompts that neither has seen.

Both serve the same prompts at the same quality bar. Two hypotheses are tested at the same level,
and the challenger is better only if both are rejected:

1. its mean quality is at most ``bar - margin`` times that of the champion's reference model;
2. its mean energy is at least the champion's.

So the chance of promoting a router for which either hypothesis is true is at most that of its test
(an intersection-union test: Berger, Technometrics 24, 1982). The test of quality is the exact one
of certification, with fractional grades rounded by lot: its chance is at most the level for any
number of prompts. That of energy is a bootstrap-t, whose chance is the level as the number of
prompts grows. Without a champion, its place is taken by the challenger's own reference model for
every prompt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from math import ceil, log
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router import Router
from router.errors import ConfigError, DataError
from router.eval.matrix import AnswerMatrix
from router.eval.paired_test import PairedTest, paired_test
from router.eval.protocol import true_energy
from router.pool import Pool
from router.training.calibration import distinct_texts
from router.training.certify.paired import rounded
from router.training.certify.ratio_test import ratio_p_value
from router.training.train import prompt_hashes

__all__ = [
    "Contest",
    "PromotionRule",
    "QualityTest",
    "compare_routers",
    "joint_pool",
    "seen_prompts",
]

_Floats = NDArray[np.float64]

_MIN_PROMPTS = 30
_LEAST_LEVEL = 0.001  # the exact test finds no smaller p-value
_POWER = 0.8
_LEAST_ENERGY_J = 1e-12


@dataclass(frozen=True, slots=True)
class PromotionRule:
    """What makes a challenger better.

    Attributes
    ----------
    quality : float
        The quality bar that both serve, in (0, 1].
    margin : float
        How far below the bar quality may be, as a share of the reference model's, in [0, quality).
    level : float
        Chance of promoting a router that is not better, in (0.001, 0.5].

    Raises
    ------
    ConfigError
        If a number is out of its range.
    """

    quality: float = 0.98
    margin: float = 0.01
    level: float = 0.05

    def __post_init__(self) -> None:
        if not 0.0 < self.quality <= 1.0:
            raise ConfigError(f"quality is {self.quality!r}: use a share in (0, 1]")
        if not 0.0 <= self.margin < self.quality:
            raise ConfigError(f"margin is {self.margin!r}: use a share from 0 up, below the bar")
        if not _LEAST_LEVEL < self.level <= 0.5:
            raise ConfigError(f"level is {self.level!r}: use a chance in (0.001, 0.5]")


@dataclass(frozen=True, slots=True)
class QualityTest:
    """An exact one-sided test that a router keeps a share of the reference model's quality.

    Attributes
    ----------
    gained, lost, both : int
        Texts that only the router, only the reference model, and both got right.
    p_value : float
        Chance of counts as good as these if the router kept less.
    n : int
        Prompts.
    n_groups : int
        Distinct texts among them: the first prompt of each counts.
    n_needed : int or None
        About how many prompts would show it in four cases of five if they went as these did; None
        where these did not keep the share.
    """

    gained: int
    lost: int
    both: int
    p_value: float
    n: int
    n_groups: int
    n_needed: int | None


@dataclass(frozen=True, slots=True)
class Contest:
    """What came of a comparison.

    Attributes
    ----------
    rule : PromotionRule
        What was asked.
    n_prompts : int
        Prompts that both served.
    reference : str
        The reference model's name in the runs.
    challenger_quality, champion_quality : float
        Mean quality as a share of the reference model's.
    challenger_energy, champion_energy : float
        Mean energy as a share of the reference model's.
    quality_test : QualityTest
        Of the bar less the margin, as a share of the reference model's quality.
    energy_test : PairedTest
        Of the joules a request that it saves.
    has_champion : bool
        Whether there was a champion; else its figures are those of the reference model.
    notes : tuple of str
        What to know about the comparison.
    """

    rule: PromotionRule
    n_prompts: int
    reference: str
    challenger_quality: float
    challenger_energy: float
    champion_quality: float
    champion_energy: float
    quality_test: QualityTest
    energy_test: PairedTest
    has_champion: bool
    notes: tuple[str, ...]

    @property
    def keeps_quality(self) -> bool:
        """Whether the first hypothesis is rejected."""
        return self.quality_test.p_value <= self.rule.level

    @property
    def saves_energy(self) -> bool:
        """Whether the second hypothesis is rejected."""
        return self.energy_test.p_value <= self.rule.level

    @property
    def better(self) -> bool:
        """Whether the challenger is better."""
        return self.keeps_quality and self.saves_energy

    def reasons(self) -> tuple[str, ...]:
        """Say for each hypothesis what was found."""
        rule, opponent = self.rule, "the champion" if self.has_champion else self.reference
        quality, energy = self.quality_test, self.energy_test
        kept = "keeps" if self.keeps_quality else "is not shown to keep"
        saved = "less" if self.saves_energy else "not shown to be less"
        change = self.challenger_energy / max(self.champion_energy, _LEAST_ENERGY_J) - 1.0
        return (
            f"quality {self.challenger_quality:.3f} of {self.reference} {kept} "
            f"{rule.quality - rule.margin:.3f} (bar {rule.quality:g}, margin {rule.margin:g}): "
            f"p = {quality.p_value:.4f}{_needed(self.keeps_quality, quality)}",
            f"energy {change:+.1%} against {opponent}, {saved}: "
            f"p = {energy.p_value:.4f}{_needed(self.saves_energy, energy)}",
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON types."""
        return asdict(self) | {
            "keeps_quality": self.keeps_quality,
            "saves_energy": self.saves_energy,
            "better": self.better,
            "reasons": list(self.reasons()),
            "notes": list(self.notes),
        }


def compare_routers(
    challenger: Router,
    champion: Router | None,
    matrix: AnswerMatrix,
    rule: PromotionRule,
    *,
    seed: int = 0,
) -> Contest:
    """Compare what two routers serve on the same prompts.

    Parameters
    ----------
    challenger : Router
        The new one.
    champion : Router or None
        The one in service; the challenger's reference model for every prompt where absent.
    matrix : AnswerMatrix
        Runs of the models of :func:`joint_pool`, every model graded on every prompt, that neither
        router has seen.
    rule : PromotionRule
        Bar, margin and level.
    seed : int
        Seed of the resamples.

    Returns
    -------
    Contest
        The verdict.

    Raises
    ------
    DataError
        If there are fewer than 30 distinct prompts, or the reference model was never right.
    """
    n_groups = len(np.unique(matrix.groups))
    if n_groups < _MIN_PROMPTS:
        raise DataError(f"{n_groups} new prompts: at least {_MIN_PROMPTS} are needed")
    pool, notes = joint_pool(challenger, champion)
    matrix = matrix.columns(pool.names)
    energy_j = true_energy(matrix, pool, _expected_tokens(challenger, champion, matrix))
    incumbent = champion or challenger
    reference = incumbent.artifact.pool.names[incumbent.artifact.reference]
    column = pool.names.index(reference)
    base, base_j = matrix.quality[:, column], energy_j[:, column]
    if base.mean() <= 0.0:
        raise DataError(f"{reference} was right on none of the prompts: there is no bar to keep")
    new, new_j = _served(challenger, matrix, energy_j, rule.quality)
    old, old_j = base, base_j
    if champion is not None:
        old, old_j = _served(champion, matrix, energy_j, rule.quality)
    if old.mean() < (rule.quality - rule.margin) * base.mean() and champion is not None:
        notes = (*notes, "the champion itself misses the bar on these prompts")
    mean, mean_j = float(base.mean()), max(float(base_j.mean()), _LEAST_ENERGY_J)
    return Contest(
        rule=rule,
        n_prompts=len(matrix),
        reference=reference,
        challenger_quality=float(new.mean()) / mean,
        challenger_energy=float(new_j.mean()) / mean_j,
        champion_quality=float(old.mean()) / mean,
        champion_energy=float(old_j.mean()) / mean_j,
        quality_test=_quality_test(new, base, prompt_hashes(matrix.prompts), rule),
        energy_test=paired_test(old_j - new_j, matrix.groups, seed),
        has_champion=champion is not None,
        notes=notes,
    )


def joint_pool(challenger: Router, champion: Router | None) -> tuple[Pool, tuple[str, ...]]:
    """Return the models of both routers, and what to know about them.

    Parameters
    ----------
    challenger : Router
        Its joules per token hold where the two differ.
    champion : Router or None
        Adds the models that the challenger does not have.

    Returns
    -------
    pool : Pool
        The challenger's models, then the champion's others.
    notes : tuple of str
        Names the models whose joules per token differ.
    """
    pool = challenger.artifact.pool
    if champion is None:
        return pool, ()
    known = {model.name: model for model in pool.models}
    others = champion.artifact.pool.models
    differing = [
        model.name
        for model in others
        if model.name in known
        and (model.joules_per_prompt_token, model.joules_per_completion_token)
        != (
            known[model.name].joules_per_prompt_token,
            known[model.name].joules_per_completion_token,
        )
    ]
    notes: tuple[str, ...] = ()
    if differing:
        notes = (
            f"the joules per token of {', '.join(differing)} differ: both are judged by the "
            "challenger's",
        )
    added = tuple(model for model in others if model.name not in known)
    return replace(pool, models=(*pool.models, *added)), notes


def seen_prompts(router: Router, matrix: AnswerMatrix) -> NDArray[np.bool_] | None:
    """Return which prompts a router was trained or certified on; None where it does not say.

    Parameters
    ----------
    router : Router
        Its lineage has hashes of them.
    matrix : AnswerMatrix
        The n prompts.

    Returns
    -------
    ndarray of shape (n,) or None
        Whether each has been seen.
    """
    lineage: Mapping[str, Any] = router.artifact.lineage
    if "prompt_hashes" not in lineage:
        return None
    known = [*lineage["prompt_hashes"], *lineage.get("calibration_hashes", ())]
    return np.isin(prompt_hashes(matrix.prompts), np.array(known, np.int64))


def _expected_tokens(
    challenger: Router, champion: Router | None, matrix: AnswerMatrix
) -> _Floats | None:
    """Return expected completion tokens, first the challenger's; None where the runs have all."""
    if not np.isnan(matrix.completion_tokens).any():
        return None
    expected = np.full(matrix.quality.shape, np.nan)
    for router in (champion, challenger):
        if router is not None:
            columns = [matrix.models.index(name) for name in router.artifact.pool.names]
            scores = router.score(matrix.prompts, _given(router, matrix))
            expected[:, columns] = scores.completion_tokens
    return expected


def _given(router: Router, matrix: AnswerMatrix) -> NDArray[np.float32] | None:
    """Return the embeddings of the runs for a router that was trained on such."""
    precomputed = router.artifact.features.encoder.startswith("precomputed")
    return matrix.embeddings if precomputed else None


def _served(
    router: Router, matrix: AnswerMatrix, energy_j: _Floats, bar: float
) -> tuple[_Floats, _Floats]:
    """Return quality and joules of each prompt as the router serves it, guard and all."""
    names = {model.api_id: model.name for model in router.artifact.pool.models}
    columns = {name: j for j, name in enumerate(matrix.models)}
    decisions = router.route_many(matrix.prompts, quality=bar, embeddings=_given(router, matrix))
    chosen = np.array([columns[names[decision.model]] for decision in decisions])
    rows = np.arange(len(chosen))
    return matrix.quality[rows, chosen], energy_j[rows, chosen]


def _quality_test(
    new: _Floats, base: _Floats, hashes: NDArray[np.int64], rule: PromotionRule
) -> QualityTest:
    """Test as certification does: one prompt a text, whose hash rounds fractional grades."""
    first, draws = distinct_texts(hashes)
    routed, reference = rounded(new[first], draws), rounded(base[first], draws)
    gained = int((routed & ~reference).sum())
    lost = int((~routed & reference).sum())
    both = int((routed & reference).sum())
    # free of the last digits of the difference, which could be one too many
    bar = round(rule.quality - rule.margin, 12)
    surplus = routed - bar * reference
    mean, needed = float(surplus.mean()), None
    if mean > 0.0:
        normal = NormalDist()
        z = normal.inv_cdf(1.0 - rule.level) + normal.inv_cdf(_POWER)
        texts = (z * float(surplus.std()) / mean) ** 2
        if bar < 1.0 and reference.any():
            # as many that the reference model gets right rule out that losses were missed by chance
            texts = max(texts, log(rule.level - _LEAST_LEVEL) / log(bar) / reference.mean())
        needed = ceil(texts * len(new) / len(first))
    return QualityTest(
        gained=gained,
        lost=lost,
        both=both,
        p_value=ratio_p_value(gained, lost, both, bar),
        n=len(new),
        n_groups=len(first),
        n_needed=needed,
    )


def _needed(found: bool, test: PairedTest | QualityTest) -> str:
    if found or test.n_needed is None or test.n_needed <= test.n:
        return ""
    return f"; about {test.n_needed:,} prompts would show such a difference, these are {test.n:,}"
