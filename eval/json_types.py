"""Figures as JSON, which has no NaN."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["json_types"]


def json_types(value: Any) -> Any:
    """Return dicts, lists and numbers as JSON can hold them.

    Parameters
    ----------
    value : object
        Dicts, lists, tuples, numbers, texts, None, nested at will.

    Returns
    -------
    object
        The same with lists for tuples, and None for numbers that are not finite.

    Examples
    --------
    >>> json_types({"mean": float("nan"), "per_seed": (1.0, 2.0)})
    {'mean': None, 'per_seed': [1.0, 2.0]}
    """
    if isinstance(value, dict):
        return {key: json_types(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_types(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
