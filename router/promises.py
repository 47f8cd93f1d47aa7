"""From a quality bar to the setting that serves, with the certificate behind it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

from router.calibration import Calibration
from router.certificate import Certificate, FloorCertificate, uncalibrated
from router.dial import Dial, Setting
from router.errors import ConfigError

__all__ = ["UNCERTIFIED", "Promise", "Promises", "checked_uncertified", "remember"]

UNCERTIFIED = ("reference", "estimate")
"""What may serve a bar that is not certified: the reference model, or what is estimated to do."""

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

_CACHE_SIZE = 1024
_ESTIMATED = "nothing else keeps the bar"
_UNREACHED = "no candidate reaches it on this prompt"


@dataclass(frozen=True, slots=True)
class Promise:
    """What serves a bar, and what is promised.

    Attributes
    ----------
    certificate : Certificate
        Whether the bar is certified.
    setting : Setting or None
        What serves; None for the reference model alone.
    estimated : Setting or None
        What serves under a floor: the setting that kept the bar out of fold. It does not depend on
        the calibration prompts, so that those can tell how floors do with it.
    level : int or None
        Position of the confidence among those that there are promises for.
    why_fallback : str
        Why the reference model serves where it does.
    notes : tuple of str
        What the caller should know.
    beyond : str or None
        Why calibration says nothing about a request, if so.
    """

    certificate: Certificate
    setting: Setting | None
    estimated: Setting | None
    level: int | None
    why_fallback: str
    notes: tuple[str, ...]
    beyond: str | None = None

    def void(self, reason: str) -> Promise:
        """Return the same setting for a request that calibration says nothing about."""
        return replace(self._without_bar(reason), beyond=reason)

    def under_floor(self) -> Promise:
        """Return what serves under a floor, which has a promise of its own."""
        found = self._without_bar("a floor under the probability changes the choices")
        return replace(found, setting=self.estimated, why_fallback=_ESTIMATED)

    def _without_bar(self, reason: str) -> Promise:
        if not self.certificate.holds:
            return self
        reason = f"not covered: {reason}"
        certificate = replace(self.certificate, holds=False, reason=reason)
        return replace(self, certificate=certificate, notes=(*self.notes, f"bar {reason}"))


class Promises:
    """Looks promises up, once for each bar, confidence and group.

    Parameters
    ----------
    calibration : Calibration or None
        What calibration prompts said; None without any.
    dial : Dial
        What is estimated.
    uncertified : {"reference", "estimate"} or None
        What serves a bar that is not certified; None for the reference model, or, where there is
        no calibration at all, the estimate.

    Raises
    ------
    ConfigError
        If `uncertified` is none of these.
    """

    def __init__(
        self, calibration: Calibration | None, dial: Dial, uncertified: str | None = None
    ) -> None:
        default = "estimate" if calibration is None else "reference"
        self._calibration = calibration
        self._dial = dial
        self._uncertified = checked_uncertified(uncertified) or default
        self._found: dict[tuple[float, float, str | None, str | None], Promise] = {}
        self._floors: dict[tuple[float, float, float, int, str | None], FloorCertificate] = {}

    def promise(
        self, bar: float, confidence: float, group: str | None, uncertified: str | None = None
    ) -> Promise:
        """Return what serves a bar.

        Parameters
        ----------
        bar : float
            Share of the reference model's mean quality, in (0, 1].
        confidence : float
            In (0, 1).
        group : str or None
            Kind of prompts; None, or a blank name, for all traffic.
        uncertified : {"reference", "estimate"} or None
            What serves where nothing is certified; as always where None.

        Raises
        ------
        ConfigError
            If an argument is out of range.
        """
        key = (bar, confidence, group or None, checked_uncertified(uncertified))
        found = self._found.get(key)
        if found is None:
            found = self._promise(*key)
            remember(self._found, key, found)
        return found

    def floor_certificate(
        self, promise: Promise, floor: float, confidence: float, model: int, *, reached: bool
    ) -> FloorCertificate | None:
        """Return the certificate of a floor for a chosen model; None without a calibration.

        Parameters
        ----------
        promise : Promise
            What serves.
        floor : float
            Least probability of a good answer that was asked for.
        confidence : float
            That was asked for.
        model : int
            Column of the chosen model.
        reached : bool
            Whether its probability on this prompt is at or above the floor.
        """
        if self._calibration is None:
            return None
        key = (promise.certificate.bar, floor, confidence, model, promise.beyond)
        found = self._floors.get(key)
        if found is None:
            floors = self._calibration.floors
            found = floors.certificate(floor, confidence, promise.level, promise.estimated, model)
            if promise.beyond is not None:
                reason = f"floor not covered: {promise.beyond}"
                found = replace(found, holds=False, n_needed=None, reason=reason)
            remember(self._floors, key, found)
        if found.holds and not reached:
            # the prompts behind it are those on which the model reached the floor
            return replace(found, holds=False, reason=f"floor not covered: {_UNREACHED}")
        return found

    def _promise(
        self, bar: float, confidence: float, group: str | None, uncertified: str | None
    ) -> Promise:
        fallback = uncertified or self._uncertified
        calibration = self._calibration
        if calibration is None:
            certificate = uncalibrated(bar, confidence, group)
        else:
            certificate = calibration.certificate(bar, confidence, group)
        setting, why = certificate.setting, "nothing certified takes less energy"
        notes: tuple[str, ...] = (f"{why} than the reference model",)
        if certificate.holds and setting is not None:
            notes = ()
        if not certificate.holds:
            notes = (certificate.reason,)
            why = "nothing else is certified to keep the bar"
            if fallback == "estimate":
                setting, why = self._dial.setting_for(bar), _ESTIMATED
        return Promise(
            certificate=certificate,
            setting=setting,
            estimated=self._dial.setting_for(
                bar if calibration is None else calibration.known_bar(bar)
            ),
            level=None if calibration is None else calibration.level(confidence),
            why_fallback=why,
            notes=notes,
        )


def remember(cache: dict[_Key, _Value], key: _Key, value: _Value) -> None:
    """Keep a value; where so many are kept that something floods the cache, forget them first.

    Parameters
    ----------
    cache : dict
        Holds at most a thousand or so.
    key : hashable
        What to find the value by.
    value : object
        What to keep.
    """
    if len(cache) >= _CACHE_SIZE:
        cache.clear()
    cache[key] = value


def checked_uncertified(uncertified: str | None) -> str | None:
    """Return an argument that says what serves a bar that is not certified.

    Raises
    ------
    ConfigError
        If it is not one of `UNCERTIFIED`.
    """
    if uncertified is None or (isinstance(uncertified, str) and uncertified in UNCERTIFIED):
        return uncertified
    raise ConfigError(f"uncertified is {uncertified!r}: use 'reference' or 'estimate'")
