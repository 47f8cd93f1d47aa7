"""What a monitor reports."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from router.monitor.shortfall import Shortfall

__all__ = ["Alarm", "DriftReport", "StreamReport"]


@dataclass(frozen=True, slots=True)
class Alarm:
    """When a stream gave the alarm.

    Attributes
    ----------
    n : int
        Observations of the stream until then.
    request_id : str or None
        The request that it came with.
    time : float, str or None
        Its time, as the feedback gave it.
    """

    n: int
    request_id: str | None = None
    time: float | str | None = None


@dataclass(frozen=True, slots=True)
class StreamReport:
    """What is known about one stream.

    Attributes
    ----------
    name : str
        ``quality`` for the graded answers of all models, ``novelty`` for the prompts, else the
        id of a model.
    kind : {"quality", "model", "novelty"}
        What the stream is about.
    n : int
        Observations.
    n_reference : int
        Reference observations that they are compared with.
    e_value : float
        Evidence of drift now: 1 is none, and without drift it hardly ever gets large. That of
        a model is adjusted for the number of models, and 1 where the baseline has no answer of
        it: its answers count for ``quality`` only.
    threshold : float
        The evidence that gives the alarm.
    alarm : Alarm or None
        When it first got there.
    shortfall : Shortfall or None
        Points of quality lost against what was expected: since the likely change where there is
        an alarm, else over the whole stream. For prompts, the share of them beyond the most
        novel twentieth of the reference prompts, minus a twentieth.
    """

    name: str
    kind: Literal["quality", "model", "novelty"]
    n: int
    n_reference: int
    e_value: float
    threshold: float
    alarm: Alarm | None
    shortfall: Shortfall | None


@dataclass(frozen=True, slots=True)
class DriftReport:
    """What a monitor found so far.

    Attributes
    ----------
    alarm : bool
        Whether quality or novelty has given the alarm.
    delta : float
        Probability of ever giving one without drift, at most.
    bar : float or None
        Quality bar of the baseline.
    detectable_drop : float
        The drop of mean quality that would be found about half of the time within 1,000 graded
        answers, roughly.
    n_without_reference : int
        Graded answers of a model and band of predicted probability of which the baseline has
        fewer than 20. They are compared with each other: that they get worse would be found,
        that they were worse from the first of them on would not.
    streams : tuple of StreamReport
        Quality, then every model with a graded answer, then novelty where it is watched.
    """

    alarm: bool
    delta: float
    bar: float | None
    detectable_drop: float
    n_without_reference: int
    streams: tuple[StreamReport, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON types."""
        found = asdict(self)
        return found | {"streams": list(found["streams"])}
