"""One stream of observations: the evidence, what was lost, and the alarm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from router.monitor.martingale import MixtureMartingale
from router.monitor.report import Alarm, StreamReport
from router.monitor.shortfall import ShortfallTracker

__all__ = ["Stream"]


class Stream:
    """One martingale, the sums that go with it, and its alarm.

    Parameters
    ----------
    martingale : MixtureMartingale
        Without any observation yet.
    """

    def __init__(self, martingale: MixtureMartingale) -> None:
        self.martingale = martingale
        self.tracker: ShortfallTracker = ShortfallTracker()
        self.alarm: Alarm | None = None

    def update(self, p_value: float, band: int, shortfall: float, *, tested: bool = True) -> None:
        """Take one more observation.

        Parameters
        ----------
        p_value, band
            As for the martingale.
        shortfall : float
            Expectation minus outcome.
        tested : bool
            Whether it is evidence, or only counts towards what was lost.
        """
        if tested:
            self.martingale.update(p_value, band)
        self.tracker.update(shortfall, hold=self.alarm is not None)

    def report(
        self,
        name: str,
        kind: Literal["quality", "model", "novelty"],
        n_reference: int,
        e_value: float,
        threshold: float,
    ) -> StreamReport:
        """Return the report, with an evidence that may have been adjusted or shared."""
        return StreamReport(
            name=name,
            kind=kind,
            n=self.tracker.n,
            n_reference=n_reference,
            e_value=e_value,
            threshold=threshold,
            alarm=self.alarm,
            shortfall=self.tracker.estimate(n_reference, changed=self.alarm is not None),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the stream as JSON types."""
        alarm = self.alarm
        return {
            "martingale": self.martingale.to_dict(),
            "shortfall": self.tracker.to_dict(),
            "alarm": None if alarm is None else [alarm.n, alarm.request_id, alarm.time],
        }

    def restore(self, stored: Mapping[str, Any]) -> None:
        """Take up what :meth:`to_dict` gave.

        Raises
        ------
        IndexError, KeyError, TypeError, ValueError
            If something is missing or of another shape.
        """
        self.martingale.restore(stored["martingale"])
        self.tracker.restore(stored["shortfall"])
        alarm = stored["alarm"]
        self.alarm = None if alarm is None else Alarm(int(alarm[0]), alarm[1], alarm[2])
