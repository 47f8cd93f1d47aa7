"""Energy of a request as an interval that knows what it rests on."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Basis", "EnergyInterval", "basis_of", "weakest_basis"]

Basis: TypeAlias = Literal["measured", "estimated", "assumed"]
"""What an energy figure rests on, from the strongest to the weakest."""

_STRENGTH: tuple[Basis, ...] = ("measured", "estimated", "assumed")


def basis_of(text: str) -> Basis:
    """Return the basis that a free text such as ``"estimated: as Llama-3.2-3B"`` names.

    The first word decides. A text that starts with none of the three words is taken as
    assumed, so an unknown origin never looks better than it is.

    Examples
    --------
    >>> basis_of("measured (B200 only)")
    'measured'
    >>> basis_of("relative price")
    'assumed'
    """
    word = re.match(r"\W*(\w*)", text.casefold())
    first = word.group(1) if word else ""
    for basis in _STRENGTH:
        if first == basis:
            return basis
    return "assumed"


def weakest_basis(*bases: Basis) -> Basis:
    """Return the weakest of `bases`: a sum is only as good as its worst part."""
    return max(bases, key=_STRENGTH.index)


@dataclass(frozen=True, slots=True)
class EnergyInterval:
    """Joules with a lower and an upper end.

    Attributes
    ----------
    value_j : float
        Best estimate in joules.
    low_j, high_j : float
        Ends of the interval in joules, ``low_j <= value_j <= high_j``.
    basis : {"measured", "estimated", "assumed"}
        What the figure rests on.

    Raises
    ------
    ValueError
        If a figure is negative or not finite, the order is wrong or the basis is unknown.

    Notes
    -----
    Sums add the ends, as if all errors had the same sign: they share the operating point,
    so independence would make the interval too narrow.

    Examples
    --------
    >>> prompt = EnergyInterval.from_factor(10.0, 1.5, "estimated")
    >>> answer = EnergyInterval(90.0, 80.0, 120.0, "measured")
    >>> prompt + answer
    EnergyInterval(value_j=100.0, low_j=86.66666666666667, high_j=135.0, basis='estimated')
    """

    value_j: float
    low_j: float
    high_j: float
    basis: Basis

    def __post_init__(self) -> None:
        in_order = 0.0 <= self.low_j <= self.value_j <= self.high_j < math.inf
        if in_order and self.basis in _STRENGTH:
            return
        for name in ("value_j", "low_j", "high_j"):
            joules = getattr(self, name)
            if not math.isfinite(joules) or joules < 0:
                raise ValueError(f"{name} must be finite and not negative, got {joules}")
        if not self.low_j <= self.value_j <= self.high_j:
            raise ValueError(
                f"need low_j <= value_j <= high_j, got {self.low_j}, {self.value_j}, {self.high_j}"
            )
        if self.basis not in _STRENGTH:
            raise ValueError(f"basis must be one of {', '.join(_STRENGTH)}, got {self.basis!r}")

    @classmethod
    def from_factor(
        cls, value_j: float, factor: float, basis: Basis, *, low_factor: float | None = None
    ) -> EnergyInterval:
        """Return the interval from ``value_j * low_factor`` to ``value_j * factor``.

        Parameters
        ----------
        value_j : float
            Best estimate in joules.
        factor : float
            At least 1; multiplies `value_j` into the upper end.
        basis : {"measured", "estimated", "assumed"}
            What the figure rests on.
        low_factor : float, optional
            Above 0 and at most 1; multiplies `value_j` into the lower end. ``1 / factor``
            when not given.

        Raises
        ------
        ValueError
            If a factor is out of its range or `value_j` is not valid.
        """
        low_factor = 1.0 / factor if low_factor is None and factor else low_factor
        if low_factor is None or not 0 < low_factor <= 1 <= factor:
            raise ValueError(f"need 0 < low_factor <= 1 <= factor, got {low_factor}, {factor}")
        return cls(value_j, value_j * low_factor, value_j * factor, basis)

    def __add__(self, other: EnergyInterval) -> EnergyInterval:
        if not isinstance(other, EnergyInterval):
            return NotImplemented
        return EnergyInterval(
            self.value_j + other.value_j,
            self.low_j + other.low_j,
            self.high_j + other.high_j,
            weakest_basis(self.basis, other.basis),
        )

    def __radd__(self, other: int) -> EnergyInterval:
        # sum() starts from the integer 0.
        return self if other == 0 else NotImplemented

    def __mul__(self, count: float) -> EnergyInterval:
        if not count >= 0:
            raise ValueError(f"energy can only be scaled by a number >= 0, got {count}")
        return EnergyInterval(
            self.value_j * count, self.low_j * count, self.high_j * count, self.basis
        )

    __rmul__ = __mul__
