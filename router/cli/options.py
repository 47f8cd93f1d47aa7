"""Options that the commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import click

__all__ = ["FiniteRange", "decision_options", "unused_seed_option"]


class FiniteRange(click.FloatRange):
    """A range without NaN and infinities, which compare false with its ends or have none."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number, or fail with the option and what was given."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is not a finite number.", param, ctx)
        return number


_DECISION_OPTIONS = (
    click.argument("text", required=False),
    click.option(
        "--messages",
        "messages_file",
        metavar="FILE.json",
        help="Chat messages in OpenAI's shape instead of TEXT: a list, or an object with "
        "'messages'. '-' reads standard input.",
    ),
    click.option(
        "--router", "folder", metavar="DIR", help="Router to load.  [default: the bundled]"
    ),
    click.option(
        "--quality",
        type=float,
        default=0.98,
        show_default=True,
        metavar="Q",
        help="Share of the reference model's quality that traffic like this must keep.",
    ),
    click.option(
        "--confidence",
        type=float,
        default=0.9,
        show_default=True,
        metavar="C",
        help="Chance with which that is to be promised.",
    ),
    click.option(
        "--group",
        metavar="NAME",
        help="Kind of the prompt, a task label of the calibration prompts: the promise is for it.",
    ),
    click.option(
        "--uncertified",
        type=click.Choice(["reference", "estimate"]),
        help="What serves where nothing is certified.  [default: the reference model; the estimate "
        "if the router was never calibrated]",
    ),
    click.option(
        "--min-probability",
        type=float,
        metavar="P",
        help="Never choose a model whose probability of a good answer is below P.",
    ),
    click.option(
        "--allow",
        "allowed",
        multiple=True,
        metavar="ID",
        help="Choose among these models only; give it once a model.",
    ),
    click.option(
        "--guard/--no-guard",
        default=True,
        show_default=True,
        help="Send a prompt unlike those of training to a model that was fixed beforehand.",
    ),
)

unused_seed_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--seed",
    type=click.IntRange(min=0),
    expose_value=False,
    help="Taken by every command; nothing is random in this one.",
)


def decision_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the prompt, the router and what is asked of it, as `Router.route` takes them.

    Parameters
    ----------
    command : callable
        Takes ``text``, ``messages_file``, ``folder``, ``quality``, ``confidence``, ``group``,
        ``uncertified``, ``min_probability``, ``allowed`` and ``guard``.
    """
    for option in reversed(_DECISION_OPTIONS):
        command = option(command)
    return command
