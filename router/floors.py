"""What calibration prompts say about floors under the probability of a good answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from statistics import NormalDist
from typing import Any

from router.certificate import FloorCertificate
from router.dial import Setting

__all__ = ["FloorEvidence"]

_POWER = 0.8
_SAME = 1e-9


@dataclass(frozen=True, slots=True)
class FloorEvidence:
    """Counts of calibration prompts by floor, setting and model.

    Attributes
    ----------
    n : int
        Calibration prompts.
    levels : tuple of float
        The floors that were tried.
    settings : tuple of Setting or None
        The settings that serve under floors, None for the reference model alone. They do not
        depend on the calibration prompts.
    routed, good : tuple of tuple of tuple of int
        For each floor, setting and model: prompts that the model got with a probability at or
        above the floor, and how many of its answers were good.
    passed : tuple of tuple of tuple of int
        At how many of the stored confidences, from the lowest up, the share of good answers is
        certified to be at least the floor.
    """

    n: int
    levels: tuple[float, ...]
    settings: tuple[Setting | None, ...]
    routed: tuple[tuple[tuple[int, ...], ...], ...]
    good: tuple[tuple[tuple[int, ...], ...], ...]
    passed: tuple[tuple[tuple[int, ...], ...], ...]

    def check(self, n_confidences: int) -> None:
        """Refuse counts of another shape.

        Parameters
        ----------
        n_confidences : int
            Confidences that there are promises for.

        Raises
        ------
        ValueError
            If the counts do not fit each other, the settings or the confidences.
        """
        shape = [len(self.settings)] * len(self.levels)
        for table in (self.routed, self.good, self.passed):
            if [len(rows) for rows in table] != shape:
                raise ValueError("floors must have counts for each floor and setting")
            if any(len(row) != self.n_models for rows in table for row in rows):
                raise ValueError("floors must have a count for each model")
        if any(not 0 <= p <= n_confidences for table in self.passed for row in table for p in row):
            raise ValueError(f"floors pass at most {n_confidences} confidences")

    @property
    def n_models(self) -> int:
        """Models of the pool."""
        return len(self.routed[0][0]) if self.levels and self.settings else 0

    def certificate(
        self,
        floor: float,
        confidence: float,
        level: int | None,
        setting: Setting | None,
        model: int,
    ) -> FloorCertificate:
        """Return the certificate of a floor for the model that was chosen.

        Parameters
        ----------
        floor : float
            Least probability of a good answer that was asked for.
        confidence : float
            That was asked for.
        level : int or None
            Position of the stored confidence that is used; None where none is high enough.
        setting : Setting or None
            What served; None for the reference model alone.
        model : int
            Column of the chosen model.
        """
        row = next((i for i, known in enumerate(self.levels) if abs(known - floor) < _SAME), None)
        if row is None or setting not in self.settings or level is None:
            why = "no promise is as confident"
            if setting not in self.settings:
                why = "this setting was not calibrated"
            if row is None:
                why = f"floors were calibrated at {', '.join(f'{x:g}' for x in self.levels)}"
            reason = f"floor not certified: {why}"
            return FloorCertificate(floor, confidence, False, 0, 0, None, 0.0, reason)
        column = self.settings.index(setting)
        n, good = self.routed[row][column][model], self.good[row][column][model]
        holds = self.passed[row][column][model] > level
        needed = None if holds else self._needed(floor, confidence, n, good)
        reason = f"certified: {good:,} of {n:,} prompts that this model got went well"
        if not holds:
            reason = f"floor not {reason}"
            if needed is not None:
                reason += f"; about {needed:,} such prompts would do, if they go as these did"
        return FloorCertificate(
            floor=floor,
            confidence=confidence,
            holds=holds,
            n=n,
            n_good=good,
            n_needed=needed,
            coverage=sum(self.routed[row][column]) / max(self.n, 1),
            reason=reason,
        )

    def _needed(self, floor: float, confidence: float, n: int, good: int) -> int | None:
        """Prompts that certify the floor in four cases of five, by the normal approximation."""
        share = good / n if n else 0.0
        if share <= floor:
            return None
        normal = NormalDist()
        z = normal.inv_cdf(1.0 - (1.0 - confidence) / self.n_models) + normal.inv_cdf(_POWER)
        return max(ceil(z * z * floor * (1.0 - floor) / (share - floor) ** 2), n + 1)

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as JSON types."""
        return {
            "n": self.n,
            "levels": list(self.levels),
            "settings": [s and [s.price, s.shrinkage] for s in self.settings],
            "routed": [[list(row) for row in table] for table in self.routed],
            "good": [[list(row) for row in table] for table in self.good],
            "passed": [[list(row) for row in table] for table in self.passed],
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> FloorEvidence:
        """Build the counts from :meth:`to_dict`.

        Raises
        ------
        KeyError, TypeError, ValueError
            If something is missing or of another shape.
        """
        routed, good, passed = (
            tuple(tuple(tuple(map(int, row)) for row in table) for table in stored[name])
            for name in ("routed", "good", "passed")
        )
        return cls(
            n=int(stored["n"]),
            levels=tuple(map(float, stored["levels"])),
            settings=tuple(s and Setting(float(s[0]), float(s[1])) for s in stored["settings"]),
            routed=routed,
            good=good,
            passed=passed,
        )
