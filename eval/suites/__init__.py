"""Suites: prompts to ask, with what their answers are graded with."""

from __future__ import annotations

from pathlib import Path

from router.errors import ConfigError
from router.eval.suites.jsonl import read_prompts
from router.eval.suites.reasoning_gym import (
    ANSWER_FORMAT,
    ReasoningGymVerifier,
    reasoning_gym_prompts,
)
from router.eval.suites.records import SuitePrompt

__all__ = [
    "ANSWER_FORMAT",
    "ReasoningGymVerifier",
    "SuitePrompt",
    "load_suite",
    "read_prompts",
    "reasoning_gym_prompts",
]


def load_suite(text: str) -> tuple[SuitePrompt, ...]:
    """Load a suite by its text.

    Parameters
    ----------
    text : str
        ``"reasoning_gym:TASK+TASK:size=20,seed=42"`` or ``"jsonl:FILE"``.

    Returns
    -------
    tuple of SuitePrompt
        The prompts.

    Raises
    ------
    ConfigError
        If there is no such suite.
    """
    name, _, rest = text.partition(":")
    if name == "reasoning_gym":
        return reasoning_gym_prompts(rest)
    if name == "jsonl":
        return read_prompts(Path(rest))
    raise ConfigError(f"no suite {name!r}: use reasoning_gym:TASK or jsonl:FILE")
