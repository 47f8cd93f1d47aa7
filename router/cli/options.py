"""Options that the commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

__all__ = ["unused_seed_option"]

unused_seed_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--seed",
    type=click.IntRange(min=0),
    expose_value=False,
    help="Taken by every command; nothing is random in this one.",
)
