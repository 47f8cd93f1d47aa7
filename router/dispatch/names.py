"""Model names that ask for routing: ``auto`` and ``auto:0.95``."""

from __future__ import annotations

from dataclasses import dataclass

from router.errors import ConfigError

__all__ = [
    "AUTO",
    "RoutingName",
    "checked_bar",
    "checked_confidence",
    "checked_probability",
    "parse_routing_name",
]

AUTO = "auto"
"""The model name that asks for routing."""


@dataclass(frozen=True, slots=True)
class RoutingName:
    """A model name that asks for routing.

    Attributes
    ----------
    name : str
        As the request has it.
    quality : float, optional
        The quality bar in it, in (0, 1].
    """

    name: str
    quality: float | None


def parse_routing_name(model: object) -> RoutingName | None:
    """Return what a model name asks of the router, or None for a real id.

    Parameters
    ----------
    model : object
        The request's ``model``.

    Raises
    ------
    ConfigError
        If it starts with ``auto:`` and what follows is not a bar in (0, 1].

    Examples
    --------
    >>> parse_routing_name("auto:0.95")
    RoutingName(name='auto:0.95', quality=0.95)
    >>> parse_routing_name("llama-3.3-70b") is None
    True
    """
    if not isinstance(model, str):
        return None
    if model == AUTO:
        return RoutingName(model, None)
    if not model.startswith(f"{AUTO}:"):
        return None
    bar = model.partition(":")[2]
    try:
        quality = float(bar)
    except ValueError:
        raise ConfigError(
            f"model is {model[:100]!r}: write the quality bar as a number, such as 'auto:0.95'"
        ) from None
    return RoutingName(model, checked_bar(f"the quality bar in {model[:100]!r}", quality))


def checked_bar(name: str, value: object) -> float:
    """Return a quality bar as a float.

    Raises
    ------
    ConfigError
        If it is not a number in (0, 1]; `name` says where it comes from.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise ConfigError(
            f"{name} is {value!r}: use a share of at most 1 and above 0, such as 0.98"
        )
    return float(value)


def checked_probability(name: str, value: object) -> float:
    """Return a probability as a float.

    Raises
    ------
    ConfigError
        If it is not a number in [0, 1]; `name` says where it comes from.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ConfigError(f"{name} is {value!r}: use a probability from 0 to 1")
    return float(value)


def checked_confidence(name: str, value: object) -> float:
    """Return a confidence as a float.

    Raises
    ------
    ConfigError
        If it is not a number in (0, 1); `name` says where it comes from.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise ConfigError(f"{name} is {value!r}: use a number above 0 and below 1, such as 0.9")
    return float(value)
