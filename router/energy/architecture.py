"""The facts about a model that its energy follows from."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from router.energy.coefficients import Coefficients
from router.errors import ConfigError

__all__ = ["Architecture", "architectures"]


@dataclass(frozen=True, slots=True)
class Architecture:
    """The facts about a model that its energy follows from.

    Attributes
    ----------
    total_parameters_b, active_parameters_b : float
        Billions of parameters, in all and used for one token.
    layers, attention_layers : int
        Layers, and those of them that keep a key-value cache.
    hidden : int
        Width of the hidden state.
    kv_heads, head_dim : int
        Shape of the key-value cache of one layer; for MLA 1 and the width of the latent.
    kv_kind : {"gqa", "mla"}
        Keys and values per head, or one compressed latent.
    experts, experts_per_token : int
        Routed experts of a layer, and those used for one token; 0 for a dense model.
    expert_parameters_b : float
        Billions of parameters that sit in routed experts.
    sliding_window : int, optional
        Tokens that a layer with a sliding window looks back.
    full_attention_every : int
        With a sliding window, one layer in this many attends to everything.
    precision : str
        Precision of the weights as served: bfloat16, fp8 or mxfp4.
    typical : bool
        Whether layers and shapes are typical of the size instead of known.
    """

    total_parameters_b: float
    active_parameters_b: float
    layers: int
    attention_layers: int
    hidden: int
    kv_heads: int
    head_dim: int
    kv_kind: str = "gqa"
    experts: int = 0
    experts_per_token: int = 0
    expert_parameters_b: float = 0.0
    sliding_window: int | None = None
    full_attention_every: int = 1
    precision: str = "bfloat16"
    typical: bool = False

    @property
    def mixture(self) -> bool:
        """Whether the model is a mixture of experts."""
        return self.experts > 0

    @classmethod
    def from_parameters(
        cls,
        total_b: float,
        active_b: float | None = None,
        *,
        precision: str | None = None,
        coefficients: Coefficients | None = None,
    ) -> Architecture:
        """Return an architecture that is typical of a number of parameters.

        Parameters
        ----------
        total_b : float
            Billions of parameters.
        active_b : float, optional
            Billions of parameters used for one token. Without it the model is taken as dense.
        precision : str, optional
            bfloat16, fp8 or mxfp4; fp8 above 200 billion parameters and bfloat16 up to there
            when not given, as the shipped models are served.
        coefficients : Coefficients, optional
            Where the rule is read from.

        Raises
        ------
        ConfigError
            If the numbers are not positive, more parameters are active than there are, or
            the precision is unknown.

        Notes
        -----
        Layers and hidden size follow the active parameters by a power law fitted on the 42
        distinct architectures of ``data/architectures.csv``; of the active parameters of a
        mixture the median share is dense. Against the formula with the known architecture
        the joules per completion token are off by 3 % (median) and x1.25 (P90), each
        architecture left out of its own fit.

        Examples
        --------
        >>> Architecture.from_parameters(8.0).layers
        39
        """
        fitted = coefficients or Coefficients.default()
        rule = fitted.typical
        active_b = total_b if active_b is None else active_b
        if not (0 < active_b <= total_b and math.isfinite(total_b)):
            raise ConfigError(
                "parameters in billions must be finite and 0 < active <= total, "
                f"got {active_b:g} active of {total_b:g}"
            )
        layers = max(1, round(rule["layers_scale"] * active_b ** rule["layers_power"]))
        dense = cls(
            total_parameters_b=total_b,
            active_parameters_b=active_b,
            layers=layers,
            attention_layers=layers,
            hidden=max(1, round(rule["hidden_scale"] * active_b ** rule["hidden_power"])),
            kv_heads=int(rule["kv_heads"]),
            head_dim=int(rule["head_dim"]),
            precision=precision or ("fp8" if total_b > rule["fp8_above_b"] else "bfloat16"),
            typical=True,
        )
        fitted.bytes_of(dense.precision)
        if active_b == total_b:
            return dense
        dense_b = rule["dense_share_of_active"] * active_b
        per_token = int(rule["experts_per_token"])
        share_of_experts = (active_b - dense_b) / (total_b - dense_b)
        return replace(
            dense,
            experts=max(per_token, round(per_token / share_of_experts)),
            experts_per_token=per_token,
            expert_parameters_b=total_b - dense_b,
        )


@cache
def architectures() -> Mapping[str, Architecture]:
    """Return the shipped architectures by catalogue name, read once."""
    path = Path(__file__).with_name("data") / "architectures.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return {row["model"]: _architecture(row) for row in csv.DictReader(file)}


def _architecture(row: Mapping[str, str]) -> Architecture:
    decimal = ("total_parameters_b", "active_parameters_b", "expert_parameters_b")
    text = ("kv_kind", "precision")
    fields: dict[str, Any] = {
        key: float(value) if key in decimal else value if key in text else int(value)
        for key, value in row.items()
        if value and key not in ("model", "source", "date")
    }
    return Architecture(**fields)
