"""What a request asks of the router, beside what it asks of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from router.config import suggest
from router.dispatch.names import checked_bar, checked_probability, parse_routing_name
from router.errors import ConfigError

__all__ = ["EXTENSION", "RequestOptions", "read_options"]

EXTENSION = "wattroute"
"""The field of a request's body that holds options of the router; it is never sent on."""

_KEYS = ("min_probability", "quality", "session", "task")


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """What a request asks of the router.

    Attributes
    ----------
    requested : str
        The model name in it.
    quality : float, optional
        Quality bar in (0, 1].
    min_probability : float, optional
        Least probability of a good answer, in [0, 1].
    session : str, optional
        The caller's name for the conversation.
    task : str, optional
        Task type, for a router of rules.
    """

    requested: str
    quality: float | None = None
    min_probability: float | None = None
    session: str | None = None
    task: str | None = None


def read_options(
    body: Mapping[str, Any],
    *,
    quality: float | None = None,
    min_probability: float | None = None,
    session: str | None = None,
) -> RequestOptions:
    """Read the options of a request.

    Parameters
    ----------
    body : mapping
        The request. Its ``wattroute`` object may have ``quality``, ``min_probability``,
        ``session`` and ``task``.
    quality, min_probability, session
        From elsewhere, such as headers; they go before the object's, and a bar in the model's
        name goes before both.

    Raises
    ------
    ConfigError
        If the model is no routing name, or an option is unknown or not valid.
    """
    name = parse_routing_name(body.get("model"))
    if name is None:
        raise ConfigError(f"model is {body.get('model')!r}: only 'auto' and 'auto:0.95' are routed")
    extension = body.get(EXTENSION)
    if extension is None:
        extension = {}
    if not isinstance(extension, Mapping):
        raise ConfigError(f"'{EXTENSION}' must be an object with {', '.join(_KEYS)}")
    for key in extension:
        if key not in _KEYS:
            hint = suggest(str(key), _KEYS) or f"; known keys: {', '.join(_KEYS)}"
            raise ConfigError(f"'{EXTENSION}': unknown key {key!r}{hint}")
    if quality is None:
        quality = extension.get("quality")
    if min_probability is None:
        min_probability = extension.get("min_probability")
    if name.quality is not None:
        quality = name.quality
    return RequestOptions(
        requested=name.name,
        quality=None if quality is None else checked_bar("quality", quality),
        min_probability=(
            None
            if min_probability is None
            else checked_probability("min_probability", min_probability)
        ),
        session=session or _text(extension, "session"),
        task=_text(extension, "task"),
    )


def _text(extension: Mapping[str, Any], key: str) -> str | None:
    value = extension.get(key)
    if value is not None and not isinstance(value, str):
        raise ConfigError(f"'{EXTENSION}': {key!r} must be text, got {value!r}")
    return value
