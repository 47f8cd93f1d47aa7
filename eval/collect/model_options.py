"""Options that hold for all models or for one: ``VALUE`` or ``NAME=VALUE``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import TypeVar

from router.errors import ConfigError

__all__ = ["by_model"]

_T = TypeVar("_T")


def by_model(
    option: str,
    texts: Sequence[str],
    models: Sequence[str],
    convert: Callable[[str], _T],
    default: _T,
) -> dict[str, _T]:
    """Return the value of an option for each model.

    Parameters
    ----------
    option : str
        Its name, for messages.
    texts : sequence of str
        Each ``VALUE`` for all models, or ``NAME=VALUE`` for one, which goes before.
    models : sequence of str
        All models.
    convert : callable
        Turns the text of a value into it; a ValueError says that it cannot.
    default : object
        For models that no text is for.

    Raises
    ------
    ConfigError
        If a value cannot be converted, is given twice or is for an unknown model.

    Examples
    --------
    >>> by_model("--max-tokens", ["512", "small=64"], ["small", "large"], int, 2048)
    {'small': 64, 'large': 512}
    """
    common = default
    own: dict[str, _T] = {}
    n_common = 0
    for text in texts:
        name, equals, value = text.partition("=")
        is_own = bool(equals) and not name.startswith(("http://", "https://"))
        if is_own and name not in models:
            close = get_close_matches(name, models, 1)
            hint = f": did you mean {close[0]!r}?" if close else f": models are {', '.join(models)}"
            raise ConfigError(f"{option} {text}: there is no model {name!r}{hint}")
        if not is_own:
            value, n_common = text, n_common + 1
        if n_common > 1 or (is_own and name in own):
            raise ConfigError(f"{option} {text}: is given twice for the same model")
        try:
            found = convert(value)
        except ValueError as error:
            raise ConfigError(f"{option} {text}: {value!r} cannot be used") from error
        if is_own:
            own[name] = found
        else:
            common = found
    return {model: own.get(model, common) for model in models}
