"""What calibration prompts say about a router, stored with it and looked up for each request.

All tests are done when a router is calibrated, by :mod:`router.training.certify`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import ceil, log
from statistics import NormalDist
from typing import Any

from router.certificate import Certificate, check_promise
from router.clusters import AUTO, PromptClusters
from router.dial import Setting
from router.floors import FloorEvidence

__all__ = ["ALL_TRAFFIC", "Calibration", "GroupEvidence"]

ALL_TRAFFIC = ""
"""Name of the group that every prompt belongs to."""

_POWER = 0.8
_MOST_PROMPTS = 10_000_000


@dataclass(frozen=True, slots=True)
class GroupEvidence:
    """What calibration found for all traffic or for one kind of prompts.

    Attributes
    ----------
    name : str
        The kind of prompts; `ALL_TRAFFIC` for all.
    n : int
        Calibration prompts.
    reference_quality : float
        Mean quality of the reference model.
    kept, energy : tuple of float
        Mean quality and mean energy of each setting of the path, relative to the reference
        model's.
    spread : tuple of float
        Standard deviation of ``kept`` for a single prompt.
    steps : tuple of tuple of int
        For each confidence and bar, how many settings of the path are certified.
    """

    name: str
    n: int
    reference_quality: float
    kept: tuple[float, ...]
    energy: tuple[float, ...]
    spread: tuple[float, ...]
    steps: tuple[tuple[int, ...], ...]

    def cheapest(self, steps: int) -> int | None:
        """Return which of the first settings took the least energy.

        All settings that are certified for a bar keep it together, so any of them may serve.

        Parameters
        ----------
        steps : int
            Settings that are certified.

        Returns
        -------
        int or None
            Position on the path; None where none took less than the reference model.
        """
        found = min(range(steps), key=lambda step: self.energy[step], default=None)
        return None if found is None or self.energy[found] >= 1.0 else found

    def n_needed(self, bar: float, confidence: float) -> int | None:
        """Estimate the prompts that certify the first setting of the path in four cases of five.

        By the normal approximation, from the shares and spreads measured here; and no fewer than
        rule out that losses were missed by chance, ``ln(1 - confidence) / ln(bar)`` prompts that
        the reference model gets right.

        Parameters
        ----------
        bar : float
            Share of the reference model's mean quality, in (0, 1].
        confidence : float
            In (0, 1).

        Returns
        -------
        int or None
            More than there are; None where the setting did not keep the bar in the first place.
        """
        if not self.kept or self.kept[0] <= bar or self.reference_quality <= 0.0:
            return None
        normal = NormalDist()
        z = normal.inv_cdf(confidence) + normal.inv_cdf(_POWER)
        n = (z * self.spread[0] / (self.kept[0] - bar)) ** 2
        if bar < 1.0:
            n = max(n, log(1.0 - confidence) / log(bar) / self.reference_quality)
        return max(ceil(n), self.n + 1) if n <= _MOST_PROMPTS else None


@dataclass(frozen=True, slots=True)
class Calibration:
    """All that calibration prompts say about a router.

    Attributes
    ----------
    path : tuple of Setting
        Settings in the order in which they were tested, from the most careful to the cheapest.
        It does not depend on the calibration prompts.
    confidences : tuple of float
        Confidences that there are promises for, ascending.
    bars : tuple of float
        Bars that there are promises for, ascending.
    groups : tuple of GroupEvidence
        All traffic, then the kinds of prompts with enough of them.
    floors : FloorEvidence
        What came of floors under the probability of a good answer.
    method : str
        How the bounds were computed.
    date : str
        Day of the calibration, as in 2026-11-30.
    data_digest : str
        Digest of the runs that the calibration prompts come from.
    clusters : PromptClusters or None
        What the kinds of prompts are, where they were discovered; None where they are the task
        labels of the calibration prompts.

    Raises
    ------
    ValueError
        If the sizes do not fit each other, or a number is out of its range.
    """

    path: tuple[Setting, ...]
    confidences: tuple[float, ...]
    bars: tuple[float, ...]
    groups: tuple[GroupEvidence, ...]
    floors: FloorEvidence
    method: str
    date: str
    data_digest: str
    clusters: PromptClusters | None = None

    def __post_init__(self) -> None:
        for name in ("confidences", "bars"):
            numbers = getattr(self, name)
            if not numbers or not all(a < b for a, b in pairwise((0.0, *numbers))):
                raise ValueError(f"{name} must ascend from above 0")
        if self.confidences[-1] >= 1.0 or self.bars[-1] != 1.0:
            raise ValueError("confidences must be below 1 and bars end at 1")
        names = [group.name for group in self.groups]
        if names[:1] != [ALL_TRAFFIC] or len({*names, AUTO}) <= len(names):
            raise ValueError("groups must begin with all traffic and have a name each")
        n_steps, shape = len(self.path), [len(self.bars)] * len(self.confidences)
        for group in self.groups:
            columns = (group.kept, group.energy, group.spread)
            if [len(row) for row in group.steps] != shape or any(
                len(column) != n_steps for column in columns
            ):
                raise ValueError(f"the sizes of group {group.name!r} do not fit")
            if not all(0 <= steps <= n_steps for row in group.steps for steps in row):
                raise ValueError(f"group {group.name!r} must certify 0 to {n_steps} settings")
        self.floors.check(len(self.confidences))

    def certificate(self, bar: float, confidence: float, group: str | None = None) -> Certificate:
        """Return the certificate for a bar.

        Parameters
        ----------
        bar : float
            Share of the reference model's mean quality, in (0, 1].
        confidence : float
            In (0, 1). The next higher one of those with promises is used, as with the bar.
        group : str, optional
            Kind of prompts; all traffic where absent or blank.

        Returns
        -------
        Certificate
            One that does not hold where the group is unknown, no promise is as confident, or no
            setting is certified for the bar.

        Raises
        ------
        ConfigError
            If `bar` or `confidence` is out of range.
        """
        check_promise(bar, confidence)
        group = group or None
        level = self.level(confidence)
        found = next((g for g in self.groups if g.name == (group or ALL_TRAFFIC)), None)
        certificate = partial(
            Certificate,
            bar=bar,
            confidence=confidence,
            n=0 if found is None else found.n,
            method=self.method,
            date=self.date,
            group=group,
        )
        refused = partial(certificate, holds=False, n_needed=None, setting=None)
        whose = "" if group is None else f" of group {group!r}"
        if found is None:
            known = ", ".join(repr(g.name) for g in self.groups[1:])
            there = f"; there are enough of {known}" if known else ""
            return refused(reason=f"not certified: too few calibration prompts{whose}{there}")
        if level is None:
            highest = self.confidences[-1]
            return refused(reason=f"not certified: promises go up to a confidence of {highest:g}")
        known_bar = self.known_bar(bar)
        steps = found.steps[level][self.bars.index(known_bar)]
        if not steps:
            needed = found.n_needed(known_bar, self.confidences[level])
            reason = f"not certified: {found.n:,} prompts{whose} do not support it"
            if needed is None:
                return refused(reason=f"{reason}, and as they went no number would")
            reason += f"; about {needed:,} would, if they go as these did"
            return refused(n_needed=needed, reason=reason)
        reason = f"certified on {found.n:,} prompts{whose}"
        cheapest = found.cheapest(steps)
        if cheapest is None:
            reason += ", but nothing takes less energy than the reference model"
        setting = None if cheapest is None else self.path[cheapest]
        return certificate(holds=True, n_needed=None, setting=setting, reason=reason)

    def level(self, confidence: float) -> int | None:
        """Return the position of the least stored confidence that is high enough, if any."""
        return next((i for i, c in enumerate(self.confidences) if c >= confidence), None)

    def known_bar(self, bar: float) -> float:
        """Return the least bar that there are promises for and that is no lower."""
        return next(known for known in self.bars if known >= bar)

    def to_dict(self) -> dict[str, Any]:
        """Return the calibration as JSON types."""
        return {
            "path": {
                "price": [setting.price for setting in self.path],
                "shrinkage": [setting.shrinkage for setting in self.path],
            },
            "confidences": list(self.confidences),
            "bars": list(self.bars),
            "groups": [
                {
                    "name": group.name,
                    "n": group.n,
                    "reference_quality": group.reference_quality,
                    "kept": list(group.kept),
                    "energy": list(group.energy),
                    "spread": list(group.spread),
                    "steps": [list(row) for row in group.steps],
                }
                for group in self.groups
            ],
            "floors": self.floors.to_dict(),
            "method": self.method,
            "date": self.date,
            "data_digest": self.data_digest,
            "clusters": None if self.clusters is None else self.clusters.to_list(),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Calibration:
        """Build the calibration from :meth:`to_dict`.

        Raises
        ------
        KeyError, TypeError, ValueError
            If something is missing or of another shape.
        """
        path, clusters = stored["path"], stored["clusters"]
        return cls(
            path=tuple(
                Setting(float(price), float(shrinkage))
                for price, shrinkage in zip(path["price"], path["shrinkage"], strict=True)
            ),
            confidences=_floats(stored["confidences"]),
            bars=_floats(stored["bars"]),
            groups=tuple(
                GroupEvidence(
                    name=str(group["name"]),
                    n=int(group["n"]),
                    reference_quality=float(group["reference_quality"]),
                    kept=_floats(group["kept"]),
                    energy=_floats(group["energy"]),
                    spread=_floats(group["spread"]),
                    steps=tuple(tuple(map(int, row)) for row in group["steps"]),
                )
                for group in stored["groups"]
            ),
            floors=FloorEvidence.from_dict(stored["floors"]),
            method=str(stored["method"]),
            date=str(stored["date"]),
            data_digest=str(stored["data_digest"]),
            clusters=None if clusters is None else PromptClusters.from_list(clusters),
        )


def _floats(numbers: Sequence[Any]) -> tuple[float, ...]:
    return tuple(map(float, numbers))
