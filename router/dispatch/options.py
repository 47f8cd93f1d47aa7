"""What a request asks of the router, beside what it asks of the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from router.config import suggest
from router.dispatch.names import (
    checked_bar,
    checked_confidence,
    checked_probability,
    parse_routing_name,
)
from router.errors import ConfigError
from router.promises import UNCERTIFIED

__all__ = ["EXTENSION", "OPTION_NAMES", "RoutingOptions", "read_options"]

EXTENSION = "wattroute"
"""The field of a request's body that holds options of the router; it is never sent on."""


@dataclass(frozen=True, slots=True)
class RoutingOptions:
    """What is asked of the router. None leaves it to whoever has a say next.

    Attributes
    ----------
    quality : float, optional
        Quality bar in (0, 1].
    min_probability : float, optional
        Least probability of a good answer, in [0, 1].
    confidence : float, optional
        Chance with which the bar is to be promised, in (0, 1).
    group : str, optional
        Kind of the prompt, for a promise about prompts of this kind; ``auto`` has it found.
    uncertified : {"reference", "estimate"}, optional
        What serves a bar that is not certified.
    session : str, optional
        The caller's name for the conversation.
    task : str, optional
        Task type, for a router of rules.

    Raises
    ------
    ConfigError
        If one is not valid.

    Examples
    --------
    >>> RoutingOptions(quality=0.9).over(RoutingOptions(quality=0.8, group="maths")).given()
    {'group': 'maths', 'quality': 0.9}
    """

    quality: float | None = None
    min_probability: float | None = None
    confidence: float | None = None
    group: str | None = None
    uncertified: str | None = None
    session: str | None = None
    task: str | None = None

    def __post_init__(self) -> None:
        for name, check in _CHECKS.items():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, check(name, value))

    def over(self, other: RoutingOptions) -> RoutingOptions:
        """Return these options, and the other ones where these say nothing."""
        if self is _NOTHING:
            return other
        if other is _NOTHING:
            return self
        return RoutingOptions(**(other.given() | self.given()))

    def given(self) -> dict[str, Any]:
        """Return those that are not None, by name."""
        found = ((name, getattr(self, name)) for name in OPTION_NAMES)
        return {name: value for name, value in found if value is not None}


def read_options(body: Mapping[str, Any], given: RoutingOptions | None = None) -> RoutingOptions:
    """Read the options of a request.

    Parameters
    ----------
    body : mapping
        The request. Its ``wattroute`` object may have the options, under their names.
    given : RoutingOptions, optional
        From elsewhere, such as headers; they go before the object's, and a bar in the model's
        name goes before both.

    Returns
    -------
    RoutingOptions
        What is asked of the router.

    Raises
    ------
    ConfigError
        If the model is no routing name, or an option is unknown or not valid.
    """
    name = parse_routing_name(body.get("model"))
    if name is None:
        raise ConfigError(f"model is {body.get('model')!r}: only 'auto' and 'auto:0.95' are routed")
    extension = body.get(EXTENSION)
    options = _NOTHING if extension is None else _of_extension(extension)
    if given is not None:
        options = given.over(options)
    if name.quality is not None:
        options = RoutingOptions(name.quality).over(options)
    return options


def _of_extension(extension: object) -> RoutingOptions:
    known = ", ".join(OPTION_NAMES)
    if not isinstance(extension, Mapping):
        raise ConfigError(f"'{EXTENSION}' must be an object with {known}")
    for key in extension:
        if key not in OPTION_NAMES:
            hint = suggest(str(key), OPTION_NAMES) or f"; known keys: {known}"
            raise ConfigError(f"'{EXTENSION}': unknown key {key!r}{hint}")
    return RoutingOptions(**extension)


def _checked_text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{name} must be text, got {value!r}")
    return value


def _checked_uncertified(name: str, value: object) -> object:
    if value not in UNCERTIFIED:
        raise ConfigError(f"{name} is {value!r}: use {' or '.join(map(repr, UNCERTIFIED))}")
    return value


OPTION_NAMES = tuple(sorted(field.name for field in fields(RoutingOptions)))
"""Names of the options, sorted."""

_CHECKS: dict[str, Callable[[str, object], object]] = {
    "quality": checked_bar,
    "min_probability": checked_probability,
    "confidence": checked_confidence,
    "group": _checked_text,
    "uncertified": _checked_uncertified,
    "session": _checked_text,
    "task": _checked_text,
}
_NOTHING = RoutingOptions()
