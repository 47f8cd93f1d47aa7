"""Route each prompt to the least-energy model that still answers well enough.

>>> from router import Router
>>> router = Router.load("models/default")
>>> decision = router.route("Summarise this ticket in one line: ...", quality=0.98)
>>> decision.model in {model.id for model in router.models}
True

Names load with their modules when they are first used: ``import router`` alone imports nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from router.certificate import Certificate
    from router.decision import Candidate, Decision, RoutedModel
    from router.errors import ArtifactError, ConfigError, DataError, WattRouteError
    from router.router import Router

__all__ = [
    "ArtifactError",
    "Candidate",
    "Certificate",
    "ConfigError",
    "DataError",
    "Decision",
    "RoutedModel",
    "Router",
    "WattRouteError",
]

__version__ = "0.1.0"

_MODULES = {
    "ArtifactError": "router.errors",
    "Candidate": "router.decision",
    "Certificate": "router.certificate",
    "ConfigError": "router.errors",
    "DataError": "router.errors",
    "Decision": "router.decision",
    "RoutedModel": "router.decision",
    "Router": "router.router",
    "WattRouteError": "router.errors",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
