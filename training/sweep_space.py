"""What a sweep may change about a fit: every choice that :class:`FitOptions` offers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from router.dial import DialShape
from router.training.blocks import BLOCKS
from router.training.fit_options import FitOptions
from router.training.heads import FAMILIES

__all__ = ["Suggester", "default_choices", "fit_options", "suggest_choices"]

_SWITCHES = ("extra_models", "evidence_shrinkage", "length_head", "pruning")
_SHRINKAGES = {"graded": DialShape().shrinkages, "none": (0.0,)}


class Suggester(Protocol):
    """The part of an optuna trial that a search space needs."""

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """Return one of the choices."""
        ...


def default_choices() -> dict[str, Any]:
    """Return the choices that the default options are made of.

    Examples
    --------
    >>> fit_options(default_choices()) == FitOptions()
    True
    """
    options = FitOptions()
    return {
        **{f"block_{name}": name in options.blocks for name in BLOCKS},
        **{f"head_{name}": name in options.heads for name in FAMILIES},
        **{name: getattr(options, name) for name in _SWITCHES},
        "dial_shrinkage": "graded",
        "dial_fixed_models": options.dial.fixed_models,
    }


def suggest_choices(trial: Suggester) -> dict[str, Any]:
    """Have a trial make every choice.

    Parameters
    ----------
    trial : Suggester
        An optuna trial.

    Returns
    -------
    dict of str to bool or str
        By the names of :func:`default_choices`.
    """
    return {
        name: trial.suggest_categorical(
            name, tuple(_SHRINKAGES) if name == "dial_shrinkage" else (True, False)
        )
        for name in default_choices()
    }


def fit_options(choices: Mapping[str, Any]) -> FitOptions | None:
    """Return the options that choices are for.

    Parameters
    ----------
    choices : mapping
        As :func:`suggest_choices` returns them.

    Returns
    -------
    FitOptions or None
        None where no feature block or no family of heads is left.
    """
    blocks = tuple(name for name in BLOCKS if choices[f"block_{name}"])
    heads = tuple(name for name in FAMILIES if choices[f"head_{name}"])
    if not blocks or not heads:
        return None
    return FitOptions(
        blocks=blocks,
        heads=heads,
        extra_models=choices["extra_models"],
        evidence_shrinkage=choices["evidence_shrinkage"],
        length_head=choices["length_head"],
        pruning=choices["pruning"],
        dial=DialShape(
            shrinkages=_SHRINKAGES[choices["dial_shrinkage"]],
            fixed_models=bool(choices["dial_fixed_models"]),
        ),
    )
