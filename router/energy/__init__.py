"""Energy of requests: intervals, the formula and the catalogue of open models.

Nothing is read at import; the data files are read when first asked for.
"""

from __future__ import annotations

from router.energy.architecture import Architecture, architectures
from router.energy.catalogue import Catalogue
from router.energy.coefficients import Coefficients
from router.energy.entry import CatalogueEntry
from router.energy.formula import (
    joules_per_completion_token,
    joules_per_prompt_token,
    request_energy,
)
from router.energy.interval import Basis, EnergyInterval, basis_of, weakest_basis

__all__ = [
    "Architecture",
    "Basis",
    "Catalogue",
    "CatalogueEntry",
    "Coefficients",
    "EnergyInterval",
    "architectures",
    "basis_of",
    "joules_per_completion_token",
    "joules_per_prompt_token",
    "request_energy",
    "weakest_basis",
]
