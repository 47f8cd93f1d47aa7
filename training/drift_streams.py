"""Simulated streams of traffic that drift, or do not, and when a monitor says so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from router.errors import ConfigError
from router.eval.intervals import interval95
from router.monitor import Baseline, Monitor

__all__ = ["Change", "StreamOutcomes", "Traffic", "share_interval", "simulate_streams"]

_Floats = NDArray[np.float64]
_Z95 = 1.959964
_BOOTSTRAPS = 2_000

Kind = Literal["random failures", "less able", "one model", "new prompts"]


@dataclass(frozen=True, slots=True)
class Traffic:
    """Routed prompts to draw streams from, with replacement.

    Attributes
    ----------
    model : tuple of str
        Id of the model that each of n prompts went to.
    probability : ndarray of shape (n,)
        What the router predicted for it.
    quality : ndarray of shape (n,)
        How good its answer was.
    novelty : ndarray of shape (n,), optional
        Novelty of the prompts.
    """

    model: tuple[str, ...]
    probability: _Floats
    quality: _Floats
    novelty: _Floats | None = None

    def __len__(self) -> int:
        return len(self.model)


@dataclass(frozen=True, slots=True)
class Change:
    """A drift that begins at some point of a stream.

    Attributes
    ----------
    kind : str
        ``random failures``: right answers turn wrong at random. ``less able``: they do in
        proportion to how open the outcome was. ``one model``: random failures of the model with
        the most traffic alone. ``new prompts``: some prompts come from other traffic.
    size : float
        By how much mean quality falls (that model's, for ``one model``), or the share of other
        prompts.
    start : int
        Observations before it begins.
    """

    kind: Kind
    size: float
    start: int = 0


@dataclass(frozen=True, slots=True)
class StreamOutcomes:
    """When streams gave the alarm.

    Attributes
    ----------
    change : Change or None
        The drift; None without.
    n_streams : int
        Streams.
    n_early : int
        Streams with an alarm before the drift began, or at all where there is none.
    delays : tuple of float
        For each other stream, the observations from the change to the alarm; infinite without.
    named : tuple of int
        For ``one model``: streams that named that model, and streams that named another one.
    parts : tuple of StreamOutcomes
        The routers that the streams belong to, where there are several. Intervals are over
        routers then: streams of one router share its luck.
    """

    change: Change | None
    n_streams: int
    n_early: int
    delays: tuple[float, ...]
    named: tuple[int, int] = (0, 0)
    parts: tuple[StreamOutcomes, ...] = ()

    @classmethod
    def together(cls, parts: Sequence[StreamOutcomes]) -> StreamOutcomes:
        """Return the streams of several routers, the same drift in each, as one set.

        Parameters
        ----------
        parts : sequence of StreamOutcomes
            At least one.
        """
        right, wrong = zip(*(part.named for part in parts), strict=True)
        return cls(
            change=parts[0].change,
            n_streams=sum(part.n_streams for part in parts),
            n_early=sum(part.n_early for part in parts),
            delays=tuple(delay for part in parts for delay in part.delays),
            named=(sum(right), sum(wrong)),
            parts=tuple(parts),
        )

    @property
    def false_alarms(self) -> tuple[float, float, float]:
        """Share of streams with a false alarm, and its 95 % interval."""
        if len(self.parts) > 1:
            found = interval95(np.array([part.false_alarms[0] for part in self.parts]))
            return self.n_early / self.n_streams, max(found.low, 0.0), min(found.high, 1.0)
        return share_interval(self.n_early, self.n_streams)

    @property
    def median_delay(self) -> tuple[float, float, float]:
        """Median delay with a 95 % interval; NaN without streams.

        The interval is free of assumptions on the delays; over several routers it is that of a
        bootstrap that draws routers (Efron and Tibshirani, "An Introduction to the Bootstrap",
        1993, chapter 8).
        """
        ordered = sorted(self.delays)
        routers = [part.delays for part in self.parts if part.delays]
        if len(routers) > 1:
            rng = np.random.default_rng(0)
            drawn = rng.integers(0, len(routers), (_BOOTSTRAPS, len(routers)))
            medians = sorted(
                _middle(sorted(delay for i in row for delay in routers[i]))
                for row in drawn.tolist()
            )
            return _middle(ordered), medians[_BOOTSTRAPS // 40], medians[-1 - _BOOTSTRAPS // 40]
        n = len(ordered)
        if not n:
            return math.nan, math.nan, math.nan
        half = _Z95 * math.sqrt(n) / 2.0
        low = max(math.floor(n / 2.0 - half), 0)
        high = min(math.ceil(n / 2.0 + half), n - 1)
        return _middle(ordered), ordered[low], ordered[high]

    def detected_within(self, horizon: int) -> float:
        """Share of the streams without a false alarm that gave one within so many observations."""
        return sum(d <= horizon for d in self.delays) / max(len(self.delays), 1)


def _middle(ordered: Sequence[float]) -> float:
    """Return the lower median; NaN of nothing."""
    return ordered[(len(ordered) - 1) // 2] if ordered else math.nan


def simulate_streams(
    baseline: Baseline,
    traffic: Traffic,
    change: Change | None = None,
    *,
    n_streams: int = 100,
    length: int = 5_000,
    delta: float = 0.1,
    seed: int = 0,
    others: Traffic | None = None,
    redrawn: int = 0,
    once: bool = False,
) -> StreamOutcomes:
    """Draw streams, feed each to a monitor of its own and note the first alarm.

    Parameters
    ----------
    baseline : Baseline
        What the monitors compare with.
    traffic : Traffic
        What streams are drawn from.
    change : Change, optional
        The drift; none where absent.
    n_streams, length : int
        Number of streams, and observations in each.
    delta : float
        Probability of a false alarm that the monitors are set to.
    seed : int
        Seed of all chance.
    others : Traffic, optional
        Where ``new prompts`` come from.
    redrawn : int
        If not 0, each stream is compared with so many answers drawn from `traffic` as well: then
        both have one distribution, and the promise of the monitor applies to the letter.
    once : bool
        Whether a stream has each prompt at most once and so ends with them. Where prompts are
        drawn again and again, a stream shows their luck as if it were that of all prompts.

    Returns
    -------
    StreamOutcomes
        When the alarms came.

    Raises
    ------
    ConfigError
        If the drift is larger than there is quality to lose, or `others` is missing.
    """
    spoilt = None if change is None else _Spoiler.build(change, traffic, others)
    start = math.inf if change is None else change.start
    n_early, delays, right, wrong = 0, [], 0, 0
    for stream in range(n_streams):
        rng = np.random.default_rng([seed, stream])
        reference = _redrawn(baseline, traffic, redrawn, rng) if redrawn else baseline
        monitor = Monitor(reference, delta=delta, seed=stream)
        every = len(traffic)
        drawn = rng.permutation(every)[:length] if once else rng.integers(0, every, length)
        alarm_at = _run(monitor, traffic, spoilt, drawn, rng)
        if alarm_at <= start and math.isfinite(alarm_at):
            n_early += 1
            continue
        delays.append(alarm_at - start if change is not None else math.inf)
        if spoilt is not None and change is not None and change.kind == "one model":
            named = {s.name for s in monitor.report().streams if s.kind == "model" and s.alarm}
            right += spoilt.model in named
            wrong += bool(named - {spoilt.model})
    return StreamOutcomes(change, n_streams, n_early, tuple(delays), (right, wrong))


def share_interval(count: int, n: int) -> tuple[float, float, float]:
    """Return a share with its 95 % interval (Wilson, 1927).

    Examples
    --------
    >>> share_interval(0, 100)[0]
    0.0
    """
    share, z2 = count / n, _Z95 * _Z95
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return share, max(centre - half, 0.0), min(centre + half, 1.0)


def _redrawn(baseline: Baseline, traffic: Traffic, n: int, rng: np.random.Generator) -> Baseline:
    """Return a baseline of answers to prompts like those of the stream."""
    index = rng.integers(0, len(traffic), n)
    return Baseline.of_answers(
        baseline.models,
        [traffic.model[i] for i in index.tolist()],
        traffic.probability[index],
        traffic.quality[index],
        novelty=() if traffic.novelty is None else traffic.novelty[index],
        bar=baseline.bar,
    )


@dataclass(frozen=True, slots=True)
class _Spoiler:
    """What a drift does to each prompt of the traffic."""

    change: Change
    chance: _Floats
    model: str
    others: Traffic | None

    @classmethod
    def build(cls, change: Change, traffic: Traffic, others: Traffic | None) -> _Spoiler:
        names, counts = np.unique(traffic.model, return_counts=True)
        model = str(names[counts.argmax()])
        if change.kind == "new prompts":
            if others is None:
                raise ConfigError("new prompts have to come from somewhere: give other traffic")
            return cls(change, np.zeros(len(traffic)), model, others)
        weight = np.ones(len(traffic))
        if change.kind == "less able":
            weight = 1.0 - traffic.probability
        elif change.kind == "one model":
            weight = (np.array(traffic.model) == model).astype(float)
        concerned = weight > 0
        lost = float((traffic.quality * weight)[concerned].mean())
        chance = weight * change.size / max(lost, 1e-9)
        if chance.max() > 1.0:
            raise ConfigError(f"quality cannot fall by {change.size:g}: there is too little of it")
        return cls(change, chance, model, others)


def _run(
    monitor: Monitor,
    traffic: Traffic,
    spoiler: _Spoiler | None,
    drawn: NDArray[np.int64],
    rng: np.random.Generator,
) -> float:
    """Feed one stream; return the number of observations until the alarm, infinite without."""
    length = len(drawn)
    luck = rng.random(length)
    foreign = 0 if spoiler is None or spoiler.others is None else len(spoiler.others)
    strangers = rng.integers(0, max(foreign, 1), length)
    for t in range(length):
        i, source, failed = int(drawn[t]), traffic, False
        if spoiler is not None and t >= spoiler.change.start:
            failed = bool(luck[t] < spoiler.chance[i])
            if spoiler.others is not None and luck[t] < spoiler.change.size:
                source, i = spoiler.others, int(strangers[t])
        if source.novelty is not None:
            monitor.add_prompt(float(source.novelty[i]))
        if source is traffic:
            quality = 0.0 if failed else float(source.quality[i])
            monitor.add_grade(source.model[i], float(source.probability[i]), quality)
        if monitor.alarm:
            return float(t + 1)
    return math.inf
