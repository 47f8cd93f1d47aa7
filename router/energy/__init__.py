"""Energy of requests: intervals, the formula and the catalogue of open models.

Nothing is read at import; the data files are read when first asked for.
"""

from __future__ import annotations

from router.energy.architecture import Architecture, architectures
from router.energy.catalogue import Catalogue
from router.energy.coefficients import Coefficients
from router.energy.entry import CatalogueEntry
from router.energy.footprint import Footprint, GivenFigure, Rates
from router.energy.formula import (
    joules_per_completion_token,
    joules_per_prompt_token,
    request_energy,
)
from router.energy.interval import Basis, EnergyInterval, basis_of, weakest_basis
from router.energy.own_measurements import (
    OwnMeasurement,
    read_own_measurements,
    with_own_measurements,
)
from router.energy.terms import EnergyTerm, RequestBreakdown, explain_request

__all__ = [
    "Architecture",
    "Basis",
    "Catalogue",
    "CatalogueEntry",
    "Coefficients",
    "EnergyInterval",
    "EnergyTerm",
    "Footprint",
    "GivenFigure",
    "OwnMeasurement",
    "Rates",
    "RequestBreakdown",
    "architectures",
    "basis_of",
    "explain_request",
    "joules_per_completion_token",
    "joules_per_prompt_token",
    "read_own_measurements",
    "request_energy",
    "weakest_basis",
    "with_own_measurements",
]
