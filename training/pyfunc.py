"""The router as MLflow's generic model, for ``mlflow models serve`` and ``mlflow.models.evaluate``.

A stored model names this module; MLflow imports it from the installed package and hands it the
folder of the router. So a stored model holds data only: no pickle and no code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from router import Decision, Router
from router.errors import ConfigError
from router.training.prompts import decode_prompt

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["INPUT_COLUMNS", "OUTPUT_COLUMNS", "PARAMETERS", "PyfuncRouter"]

INPUT_COLUMNS = {"prompt": True, "quality": False}
"""Columns of the input, and whether each is required. A prompt is text, or a JSON list of chat
messages; a quality bar of its own takes the place of the parameter."""

OUTPUT_COLUMNS = {
    "model": "string",
    "probability": "double",
    "energy_j": "double",
    "energy_low_j": "double",
    "energy_high_j": "double",
    "energy_basis": "string",
    "completion_tokens": "double",
    "reference": "string",
    "promised": "boolean",
    "reason": "string",
}
"""Columns of the output with their types: one row a prompt, energies in joules."""

PARAMETERS: dict[str, tuple[str, Any]] = {
    "quality": ("double", 0.98),
    "confidence": ("double", 0.9),
    "min_probability": ("double", 0.0),
    "group": ("string", ""),
    "guard": ("boolean", True),
}
"""Parameters of a prediction with their types and defaults; as in `Router.route`, where 0 and an
empty text leave one out."""


class PyfuncRouter:
    """A router that takes and gives tables.

    Parameters
    ----------
    router : Router
        What decides.

    Examples
    --------
    >>> import pandas as pd
    >>> decided = PyfuncRouter(Router.load()).predict(pd.DataFrame({"prompt": ["What is 2 + 2?"]}))
    >>> list(decided.columns[:3])
    ['model', 'probability', 'energy_j']
    """

    def __init__(self, router: Router) -> None:
        self.router = router

    def predict(
        self, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None
    ) -> pd.DataFrame:
        """Choose a model for each prompt.

        Parameters
        ----------
        model_input : pandas.DataFrame
            A column ``prompt``, and ``quality`` where prompts have bars of their own.
        params : mapping, optional
            Some of :data:`PARAMETERS`.

        Returns
        -------
        pandas.DataFrame
            The columns of :data:`OUTPUT_COLUMNS`, with the index of the input.

        Raises
        ------
        ConfigError
            If a column, a parameter or a prompt is wrong.
        """
        import pandas as pd

        if not isinstance(model_input, pd.DataFrame) or "prompt" not in model_input.columns:
            raise ConfigError("the input must be a table with the column 'prompt'")
        given = dict(params or {})
        strange = sorted(set(given) - set(PARAMETERS))
        if strange:
            raise ConfigError(f"parameter {strange[0]!r}: use {', '.join(PARAMETERS)}")
        settings = {name: default for name, (_, default) in PARAMETERS.items()} | given
        bars = [float(settings.pop("quality"))] * len(model_input)
        if "quality" in model_input.columns:
            own = [math.nan if bar is None else float(bar) for bar in model_input["quality"]]
            bars = [bar if math.isnan(mine) else mine for mine, bar in zip(own, bars, strict=True)]
        prompts = [_prompt(row, value) for row, value in enumerate(model_input["prompt"])]
        decided: dict[int, dict[str, Any]] = {}
        for bar in dict.fromkeys(bars):
            rows = [row for row, own_bar in enumerate(bars) if own_bar == bar]
            decisions = self.router.route_many(
                [prompts[row] for row in rows],
                quality=bar,
                confidence=settings["confidence"],
                min_probability=settings["min_probability"] or None,
                group=settings["group"] or None,
                guard=bool(settings["guard"]),
            )
            decided |= dict(zip(rows, map(_row, decisions), strict=True))
        found = [decided[row] for row in range(len(bars))]
        return pd.DataFrame(found, index=model_input.index, columns=list(OUTPUT_COLUMNS))


def _load_pyfunc(data_path: str) -> PyfuncRouter:
    """Load the router in a folder: what MLflow calls."""
    return PyfuncRouter(Router.load(Path(data_path)))


def _prompt(row: int, value: object) -> Any:
    if not isinstance(value, str):
        raise ConfigError(f"prompt {row} is not text: give text, or chat messages as a JSON list")
    return decode_prompt(value)


def _row(decision: Decision) -> dict[str, Any]:
    energy, certificate = decision.energy_j, decision.certificate
    return {
        "model": decision.model,
        "probability": decision.probability,
        "energy_j": energy.value_j,
        "energy_low_j": energy.low_j,
        "energy_high_j": energy.high_j,
        "energy_basis": energy.basis,
        "completion_tokens": next(c.completion_tokens for c in decision.candidates if c.chosen),
        "reference": decision.reference,
        "promised": certificate is not None and certificate.holds,
        "reason": decision.reason,
    }
