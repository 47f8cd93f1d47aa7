"""The fitted numbers of the energy formula, read from a dated file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from router.errors import ConfigError

__all__ = ["Coefficients"]


@dataclass(frozen=True, slots=True)
class Coefficients:
    """What ``data/coefficients.json`` holds.

    Attributes
    ----------
    gpu, serving : mapping of str to float
        The c's and the k's of the formula.
    bytes_per_parameter : mapping of str to float
        Bytes that one weight takes, by precision.
    typical : mapping of str to float
        The rule of `Architecture.from_parameters`.
    uncertainty : mapping of str to (float, float)
        Factors from a figure to the ends of its interval, by what the figure rests on.
    """

    gpu: Mapping[str, float]
    serving: Mapping[str, float]
    bytes_per_parameter: Mapping[str, float]
    typical: Mapping[str, float]
    uncertainty: Mapping[str, tuple[float, float]]

    @staticmethod
    @cache
    def default() -> Coefficients:
        """Return the shipped coefficients, read once."""
        path = Path(__file__).with_name("data") / "coefficients.json"
        data = json.loads(path.read_text(encoding="utf-8"))
        factors = {key: (low, high) for key, (low, high) in data["uncertainty"].items()}
        return Coefficients(
            data["gpu"],
            data["serving"],
            data["bytes_per_parameter"],
            data["typical"],
            factors,
        )

    def without_serving(self) -> Coefficients:
        """Return the same with a serving factor of 1, as bare kernels have."""
        return replace(self, serving=dict.fromkeys(self.serving, 0.0))

    def bytes_of(self, precision: str) -> float:
        """Return the bytes of one weight at `precision`.

        Raises
        ------
        ConfigError
            If the precision is not known.
        """
        if precision not in self.bytes_per_parameter:
            known = ", ".join(self.bytes_per_parameter)
            raise ConfigError(f"precision must be one of {known}, got {precision!r}")
        return self.bytes_per_parameter[precision]
