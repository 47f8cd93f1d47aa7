"""What a router does on kinds of tasks that it was not trained on: figures and their table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.cli.table import render_table
from router.eval.intervals import Interval

__all__ = [
    "ALLOWANCE",
    "DIFFERENT",
    "BarOutcome",
    "FamilyOutcome",
    "UnseenTasks",
    "auroc_interval",
    "bar_outcome",
    "render_unseen_tasks",
]

ALLOWANCE = 0.02
"""Share of the reference model's quality by which a bar may be missed on tasks not seen."""

DIFFERENT = 0.85
"""Area under the ROC curve from which a family counts as different from the others."""

_RESAMPLES = 1000
_Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BarOutcome:
    """What is kept and spent at a quality bar.

    Attributes
    ----------
    bar : float
        The bar.
    quality, energy : Interval
        Mean quality and mean energy relative to the reference model's, with the guard; 95 %
        intervals by resampling of the prompts.
    unguarded_quality, unguarded_energy : float
        The same without the guard.
    """

    bar: float
    quality: Interval
    energy: Interval
    unguarded_quality: float
    unguarded_energy: float

    @property
    def within(self) -> bool:
        """Whether the bar, less the allowance, is kept."""
        return self.quality.mean >= self.bar - ALLOWANCE - 1e-12


@dataclass(frozen=True, slots=True)
class FamilyOutcome:
    """What a router trained on all families but one does on that one.

    Attributes
    ----------
    family : str
        The family that was left out.
    n_train, n_prompts, n_known : int
        Training prompts, prompts of the family, held-out prompts of the other families.
    auroc : Interval
        Chance that a prompt of the family is more novel than a held-out one of the others.
    novel, false_alarms : float
        Share of the family's and of the held-out prompts that the guard takes for novel.
    reference : str
        Name of the reference model in the runs.
    reference_quality : float
        Its mean quality on the family.
    bars, known : tuple of BarOutcome
        At each bar on the family, and on the held-out prompts of the others.
    """

    family: str
    n_train: int
    n_prompts: int
    n_known: int
    auroc: Interval
    novel: float
    false_alarms: float
    reference: str
    reference_quality: float
    bars: tuple[BarOutcome, ...]
    known: tuple[BarOutcome, ...]

    @property
    def different(self) -> bool:
        """Whether the family can be told from the others."""
        return self.auroc.mean >= DIFFERENT

    @property
    def within(self) -> bool:
        """Whether every bar, less the allowance, is kept."""
        return all(outcome.within for outcome in self.bars)


@dataclass(frozen=True, slots=True)
class UnseenTasks:
    """Outcomes of all families of a pool.

    Attributes
    ----------
    pool : str
        Name of the pool.
    seed : int
        Seed of the splits and of the training.
    families : tuple of FamilyOutcome
        By name.
    too_small : tuple of str
        Families with too few prompts to be left out.
    """

    pool: str
    seed: int
    families: tuple[FamilyOutcome, ...]
    too_small: tuple[str, ...] = ()

    @property
    def within(self) -> bool:
        """Whether every family keeps every bar, less the allowance."""
        return all(family.within for family in self.families)

    def verdict(self) -> str:
        """Return the findings in a few sentences."""
        n = len(self.families)
        kept = sum(family.within for family in self.families)
        alike = [family.family for family in self.families if not family.different]
        missed = [family.family for family in self.families if not family.within]
        lines = [f"{kept} of {n} families keep every bar less {ALLOWANCE:g}."]
        if missed:
            lines.append(f"Below: {', '.join(missed)}.")
        lines.append(f"{n - len(alike)} of {n} are told apart (AUROC of {DIFFERENT:g} or more).")
        if alike:
            lines.append(f"Not really different from the others: {', '.join(alike)}.")
        alarms = float(np.mean([family.false_alarms for family in self.families]))
        costs = [
            f"{np.mean([o.unguarded_energy for o in outcomes]):.3f} -> "
            f"{np.mean([o.energy.mean for o in outcomes]):.3f} at {outcomes[0].bar:g}"
            for outcomes in zip(*(family.known for family in self.families), strict=True)
        ]
        lines.append(
            f"On prompts of the known families {alarms:.1%} false alarms; the guard takes their "
            f"energy, relative to the reference model's, from {', '.join(costs)}."
        )
        return " ".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as JSON types."""
        found = asdict(self)
        for shown, family in zip(found["families"], self.families, strict=True):
            shown |= {"different": family.different, "within": family.within}
            for name in ("bars", "known"):
                for row, outcome in zip(shown[name], getattr(family, name), strict=True):
                    row["within"] = outcome.within
        return found | {"allowance": ALLOWANCE, "within": self.within, "verdict": self.verdict()}


def auroc_interval(unseen: _Array, known: _Array, rng: np.random.Generator) -> Interval:
    """Return the area under the ROC curve of a score, with a 95 % interval.

    Parameters
    ----------
    unseen, known : ndarray
        Scores of the prompts to be noticed and of the others, at least one each.
    rng : Generator
        Draws the resamples, of both kinds of prompts.

    Returns
    -------
    Interval
        Chance that a prompt to be noticed scores higher; equal scores count half.

    Examples
    --------
    >>> import numpy as np
    >>> auroc_interval(np.array([2.0, 3.0]), np.array([0.0, 1.0]), np.random.default_rng(0)).mean
    1.0
    """
    ordered = np.sort(known)
    first, last = ordered.searchsorted(unseen, "left"), ordered.searchsorted(unseen, "right")
    n_unseen, n_known = len(unseen), len(known)

    def area(drawn: NDArray[np.int64], times: NDArray[np.int64]) -> float:
        below = np.concatenate([[0], np.cumsum(times)])
        return float((below[first[drawn]] + below[last[drawn]]).mean() / 2 / n_known)

    areas = [
        area(
            rng.integers(0, n_unseen, n_unseen),
            np.bincount(rng.integers(0, n_known, n_known), minlength=n_known),
        )
        for _ in range(_RESAMPLES)
    ]
    low, high = np.quantile(areas, [0.025, 0.975])
    found = area(np.arange(n_unseen), np.ones(n_known, np.int64))
    return Interval(found, float(low), float(high))


def bar_outcome(
    bar: float,
    quality: _Array,
    energy_j: _Array,
    guarded: NDArray[np.integer],
    unguarded: NDArray[np.integer],
    reference: int,
    rng: np.random.Generator,
) -> BarOutcome:
    """Measure what was chosen at a bar.

    Parameters
    ----------
    bar : float
        The bar.
    quality, energy_j : ndarray of shape (n, n_models)
        What happened.
    guarded, unguarded : ndarray of shape (n,)
        Columns of the models chosen with and without the guard.
    reference : int
        Column of the reference model.
    rng : Generator
        Draws the resamples.

    Returns
    -------
    BarOutcome
        Relative to the reference model; of nothing, any share is kept.
    """
    rows = np.arange(len(quality))
    resampled = rng.integers(0, len(rows), (_RESAMPLES, len(rows)))
    shares = []
    for truth in (quality, energy_j):
        chosen, base = truth[rows, guarded], truth[:, reference]
        drawn = _share(chosen[resampled].mean(axis=1), base[resampled].mean(axis=1))
        low, high = np.quantile(drawn, [0.025, 0.975])
        shares.append(Interval(float(_share(chosen.mean(), base.mean())), float(low), float(high)))
    plain = [
        float(_share(truth[rows, unguarded].mean(), truth[:, reference].mean()))
        for truth in (quality, energy_j)
    ]
    return BarOutcome(float(bar), shares[0], shares[1], plain[0], plain[1])


def _share(mean: _Array | np.float64, base: _Array | np.float64) -> _Array:
    safe = np.where(base > 0.0, base, 1.0)
    return np.asarray(np.where(base > 0.0, mean / safe, 1.0))


def render_unseen_tasks(found: UnseenTasks) -> str:
    """Return the verdict and the tables as text.

    Parameters
    ----------
    found : UnseenTasks
        What was measured.
    """
    parts = [found.verdict(), "", "How the families are noticed (95 % intervals in brackets):", ""]
    parts.append(
        render_table(
            ("family", "prompts", "trained on", "AUROC", "", "novel", "false alarms", ""),
            [
                (
                    family.family,
                    f"{family.n_prompts:,}",
                    f"{family.n_train:,}",
                    f"{family.auroc.mean:.3f}",
                    _ends(family.auroc),
                    f"{family.novel:.1%}",
                    f"{family.false_alarms:.1%}",
                    "" if family.different else "not really different",
                )
                for family in found.families
            ],
            "<>>><>><",
        )
    )
    for place, outcome in enumerate(found.families[0].bars):
        parts += ["", f"At a quality bar of {outcome.bar:g}, relative to the reference model:", ""]
        parts.append(
            render_table(
                ("family", "reference quality", "quality", "", "energy", "",
                 "quality, no guard", "energy, no guard", ""),
                [_bar_row(family, family.bars[place]) for family in found.families],
                "<>><><>><",
            )
        )  # fmt: skip
    if found.too_small:
        parts += ["", f"Too few prompts to be left out: {', '.join(found.too_small)}."]
    return "\n".join(parts)


def _bar_row(family: FamilyOutcome, outcome: BarOutcome) -> tuple[str, ...]:
    return (
        family.family,
        f"{family.reference_quality:.3f}",
        f"{outcome.quality.mean:.3f}",
        _ends(outcome.quality),
        f"{outcome.energy.mean:.3f}",
        _ends(outcome.energy),
        f"{outcome.unguarded_quality:.3f}",
        f"{outcome.unguarded_energy:.3f}",
        "" if outcome.within else f"below {outcome.bar - ALLOWANCE:g}",
    )


def _ends(interval: Interval) -> str:
    return f"[{interval.low:.3f}, {interval.high:.3f}]"
