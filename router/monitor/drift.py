"""The monitor: graded answers and prompts in, an alarm with a bounded chance of error out."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from router.errors import ConfigError
from router.monitor.baseline import Baseline, level_of, novelty_level, stored_baselines
from router.monitor.bets import band_of, novelty_bets, quality_bets
from router.monitor.conformal import Bag, tie_breaker
from router.monitor.martingale import MixtureMartingale, closed_e_values
from router.monitor.report import Alarm, DriftReport
from router.monitor.seen import SeenRequests
from router.monitor.stream import Stream

if TYPE_CHECKING:
    from router.router import Router

__all__ = ["STATE_VERSION", "Monitor", "unknown_model"]

STATE_VERSION = 1
"""Version of the state's layout."""

_QUALITY_SHARE = 0.8
_ALL_ANSWERS = 0.85
_NOVEL_TAIL = 0.05
_MAX_TOLERANCE = 0.03
# what the mixtures cost, in the logarithm of the evidence, for a change after some 1,000 answers
_LOG_MIXING = 4.0
_HORIZON = 1_000
_FEW_ANSWERS = 20


class Monitor:
    """Watches a router for drift that breaks its promise.

    Fed with graded answers, with prompts alone, or both. Unless something drifts, the
    probability of *ever* giving the alarm is at most `delta`, however long it watches: of that,
    four fifths are for quality and one fifth for novelty, where the baseline has any.

    "Nothing drifts" means: within each model and band of predicted probability, the grades are
    exchangeable with those of the baseline, and so is the novelty of the prompts. So the router's
    own errors of calibration are allowed for as far as the baseline shows them, and its finite
    size is accounted for exactly; a drop of up to `tolerance` on top is no evidence either.
    Grades must be of a random sample of the answers: those that users complained about are
    another population, and the monitor says so.

    It is not safe to share between threads without a lock.

    Parameters
    ----------
    baseline : Baseline
        What to compare with.
    delta : float
        Probability of a false alarm, in (0, 1).
    tolerance : float
        Drop of mean quality that is no drift, in [0, 0.03].
    seed : int
        Seed of the random numbers that split ties.

    Raises
    ------
    ConfigError
        If `delta` or `tolerance` is out of range.

    Examples
    --------
    >>> from router.monitor import Baseline
    >>> grades = [1] * 450 + [0] * 50
    >>> baseline = Baseline.of_answers(["small"], ["small"] * 500, [0.9] * 500, grades)
    >>> monitor = Monitor(baseline)
    >>> for i in range(200):
    ...     _ = monitor.add_grade("small", 0.9, i % 2, request_id=str(i))
    >>> monitor.alarm
    True
    """

    def __init__(
        self,
        baseline: Baseline,
        *,
        delta: float = 0.1,
        tolerance: float = 0.003,
        seed: int = 0,
    ) -> None:
        if not 0.0 < delta < 1.0:
            raise ConfigError(f"delta is {delta!r}: use a probability between 0 and 1")
        if not 0.0 <= tolerance <= _MAX_TOLERANCE:
            raise ConfigError(f"tolerance is {tolerance!r}: use a drop in [0, {_MAX_TOLERANCE}]")
        self.baseline = baseline
        self.delta = delta
        self.tolerance = tolerance
        self.seed = seed
        share = _QUALITY_SHARE if baseline.novelty else 1.0
        self._quality_threshold = 1.0 / (share * delta)
        self._novelty_threshold = 1.0 / ((1.0 - share) * delta) if baseline.novelty else math.inf
        bets = quality_bets(baseline.band_shares(), tolerance)
        self._bags = {key: Bag.from_text(cell.levels) for key, cell in baseline.cells.items()}
        self._quality = Stream(MixtureMartingale(bets))
        self._models = {name: Stream(MixtureMartingale(bets)) for name in baseline.models}
        # the others' own evidence would only dilute that of these
        self._tested = [name for name in baseline.models if baseline.n_answers_of(name)]
        self._novelty_bag = Bag(novelty_level(score) for score in baseline.novelty)
        self._novelty = Stream(MixtureMartingale(novelty_bets()))
        self._graded = SeenRequests()
        self._prompts = SeenRequests()

    @classmethod
    def of_router(
        cls,
        router: Router,
        *,
        quality: float = 0.98,
        delta: float = 0.1,
        tolerance: float = 0.003,
        seed: int = 0,
    ) -> Monitor:
        """Return a monitor that compares with what the router was like in training.

        Parameters
        ----------
        router : Router
            The router to watch.
        quality : float
            Quality bar of its traffic; the nearest one that it has a baseline for is taken.
        delta, tolerance, seed
            As for the class.

        Raises
        ------
        ArtifactError
            If the router has no baselines: it was trained with an older release.
        ConfigError
            If `quality`, `delta` or `tolerance` is out of range.
        """
        baseline = stored_baselines(router.artifact.lineage).for_bar(quality)
        return cls(baseline, delta=delta, tolerance=tolerance, seed=seed)

    @property
    def alarm(self) -> bool:
        """Whether quality or novelty has given the alarm; once given, it stays."""
        return self._quality.alarm is not None or self._novelty.alarm is not None

    @property
    def n_graded(self) -> int:
        """Graded answers that counted."""
        return self._quality.martingale.n

    @property
    def n_prompts(self) -> int:
        """Prompts whose novelty counted."""
        return self._novelty.martingale.n

    def add_grade(
        self,
        model: str,
        probability: float,
        quality: float,
        *,
        request_id: str | None = None,
        time: float | str | None = None,
    ) -> bool:
        """Take a graded answer.

        Parameters
        ----------
        model : str
            Id of the model that answered.
        probability : float
            What the router predicted for it, in [0, 1].
        quality : float
            The grade, in [0, 1].
        request_id : str, optional
            A request counts once: the first grade.
        time : float or str, optional
            When; only repeated in reports.

        Returns
        -------
        bool
            Whether it counted.

        Raises
        ------
        ConfigError
            If a number is out of range or the model is not in the pool; nothing has changed then.
        """
        if model not in self._models:
            raise ConfigError(unknown_model(model, self.baseline.models))
        _check("probability", probability)
        _check("quality", quality)
        if not self._graded.is_new(request_id):
            return False
        band = band_of(probability)
        bag = self._bags.get((model, band))
        if bag is None:
            bag = self._bags[model, band] = Bag()
        tie = tie_breaker(self.seed, "quality", self.n_graded)
        p_value = bag.p_value(level_of(quality), tie)
        shortfall = self.baseline.expected(model, probability) - quality
        own = self._models[model]
        self._quality.update(p_value, band, shortfall)
        own.update(p_value, band, shortfall, tested=model in self._tested)
        if self._quality.alarm is None and self._quality_e_value() >= self._quality_threshold:
            self._quality.alarm = Alarm(self.n_graded, request_id, time)
        # adjusting can only lower an e-value
        could = own.alarm is None and own.martingale.e_value >= self._quality_threshold
        if could and self._adjusted()[model] >= self._quality_threshold:
            own.alarm = Alarm(own.martingale.n, request_id, time)
        return True

    def add_prompt(
        self,
        novelty: float,
        *,
        request_id: str | None = None,
        time: float | str | None = None,
    ) -> bool:
        """Take the novelty of a prompt, graded or not.

        Parameters
        ----------
        novelty : float
            As the router scores it: higher for prompts unlike those it was trained on.
        request_id, time
            As in :meth:`add_grade`.

        Returns
        -------
        bool
            Whether it counted; False too where the baseline has no novelty to compare with.

        Raises
        ------
        ConfigError
            If `novelty` is not a finite number.
        """
        if not math.isfinite(novelty):
            raise ConfigError(f"novelty is {novelty!r}: use a finite number")
        if not self.baseline.novelty or not self._prompts.is_new(request_id):
            return False
        tie = tie_breaker(self.seed, "novelty", self.n_prompts)
        p_value = self._novelty_bag.p_value(novelty_level(novelty), tie)
        self._novelty.update(p_value, 0, float(p_value <= _NOVEL_TAIL) - _NOVEL_TAIL)
        e_value = self._novelty.martingale.e_value
        if self._novelty.alarm is None and e_value >= self._novelty_threshold:
            self._novelty.alarm = Alarm(self.n_prompts, request_id, time)
        return True

    def report(self) -> DriftReport:
        """Return what was found so far."""
        baseline = self.baseline
        threshold = self._quality_threshold
        adjusted = self._adjusted()
        n_reference = baseline.n_answers
        streams = [
            self._quality.report(
                "quality", "quality", n_reference, self._quality_e_value(), threshold
            )
        ]
        for name, stream in self._models.items():
            if stream.tracker.n:
                n_answers, e_value = baseline.n_answers_of(name), adjusted.get(name, 1.0)
                streams.append(stream.report(name, "model", n_answers, e_value, threshold))
        if baseline.novelty:
            streams.append(
                self._novelty.report(
                    "novelty",
                    "novelty",
                    len(baseline.novelty),
                    self._novelty.martingale.e_value,
                    self._novelty_threshold,
                )
            )
        evidence = math.log(threshold) + _LOG_MIXING
        spread = baseline.variance * (1.0 / _HORIZON + 1.0 / max(n_reference, 1))
        return DriftReport(
            alarm=self.alarm,
            delta=self.delta,
            bar=baseline.bar,
            detectable_drop=min(self.tolerance + math.sqrt(2.0 * evidence * spread), 1.0),
            n_without_reference=self._n_without_reference(),
            streams=tuple(streams),
        )

    def _n_without_reference(self) -> int:
        """Return the number of graded answers that the baseline has hardly any to rank among."""
        cells = self.baseline.cells
        sizes = ((cells[key].n if key in cells else 0, len(bag)) for key, bag in self._bags.items())
        return sum(n - n_reference for n_reference, n in sizes if n_reference < _FEW_ANSWERS)

    def to_dict(self) -> dict[str, Any]:
        """Return the state as JSON types; the baseline is named by its digest.

        About 20 kB, and 11 bytes for each request id.
        """
        return {
            "version": STATE_VERSION,
            "baseline": self.baseline.digest(),
            "bar": self.baseline.bar,
            "delta": self.delta,
            "tolerance": self.tolerance,
            "seed": self.seed,
            "quality": self._quality.to_dict(),
            "models": {name: stream.to_dict() for name, stream in self._models.items()},
            "novelty": self._novelty.to_dict(),
            "bags": {f"{band} {model}": bag.to_text() for (model, band), bag in self._bags.items()},
            "novelty_bag": self._novelty_bag.to_text(),
            "graded_ids": self._graded.to_text(),
            "prompt_ids": self._prompts.to_text(),
        }

    @classmethod
    def from_dict(cls, baseline: Baseline, stored: Mapping[str, Any]) -> Monitor:
        """Take up the state of :meth:`to_dict`.

        Parameters
        ----------
        baseline : Baseline
            The one that the state was begun with.
        stored : mapping
            The state.

        Raises
        ------
        ConfigError
            If the state is damaged, of another version or of another baseline.
        """
        try:
            if stored["version"] != STATE_VERSION:
                raise ConfigError(
                    f"the state has version {stored['version']!r}, not {STATE_VERSION}: "
                    "begin a new one"
                )
            if stored["baseline"] != baseline.digest():
                raise ConfigError(
                    "the state was begun with another router, quality bar or baseline: "
                    "begin a new one"
                )
            monitor = cls(
                baseline,
                delta=float(stored["delta"]),
                tolerance=float(stored["tolerance"]),
                seed=int(stored["seed"]),
            )
            monitor._restore(stored)
        except ConfigError:
            raise
        except (
            AttributeError,
            IndexError,
            KeyError,
            OverflowError,
            TypeError,
            ValueError,
        ) as error:
            raise ConfigError(f"the state is damaged ({error!r}): begin a new one") from error
        return monitor

    def _restore(self, stored: Mapping[str, Any]) -> None:
        self._quality.restore(stored["quality"])
        for name, stream in self._models.items():
            stream.restore(stored["models"][name])
        self._novelty.restore(stored["novelty"])
        for key, text in stored["bags"].items():
            band, model = key.split(" ", 1)
            self._bags[model, int(band)] = Bag.from_text(text)
        self._novelty_bag = Bag.from_text(stored["novelty_bag"])
        n_answers = sum(map(len, self._bags.values()))
        if n_answers != self.baseline.n_answers + self.n_graded:
            raise ValueError("the bags have another number of answers")
        if len(self._novelty_bag) != len(self.baseline.novelty) + self.n_prompts:
            raise ValueError("the bag of prompts has another number of them")
        self._graded = SeenRequests.from_text(stored["graded_ids"])
        self._prompts = SeenRequests.from_text(stored["prompt_ids"])

    def _quality_e_value(self) -> float:
        """Capital of all graded answers and of each model's own, in fixed shares."""
        whole = self._quality.martingale.e_value
        if not self._tested:
            return whole
        own = sum(self._models[name].martingale.e_value for name in self._tested)
        return _ALL_ANSWERS * whole + (1.0 - _ALL_ANSWERS) * own / len(self._tested)

    def _adjusted(self) -> dict[str, float]:
        own = [self._models[name].martingale.e_value for name in self._tested]
        return dict(zip(self._tested, closed_e_values(own), strict=True))


def unknown_model(model: str, models: tuple[str, ...]) -> str:
    """Return a message about a model that is not in the pool.

    Parameters
    ----------
    model : str
        The unknown one.
    models : tuple of str
        The known ones.
    """
    close = difflib.get_close_matches(model, models, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(models)}"
    return f"the router's pool has no model {model!r}: {hint}"


def _check(name: str, value: float) -> None:
    # written so that NaN is out of range too
    if not 0.0 <= value <= 1.0:
        raise ConfigError(f"{name} is {value!r}: use a number in [0, 1]")
