"""Route each prompt to the least-energy model that still answers well enough.

>>> from router import Router
>>> router = Router.load("models/default")
>>> decision = router.route("Summarise this ticket in one line: ...", quality=0.98)
>>> decision.model in {model.id for model in router.models}
True
"""

from router.decision import Candidate, Decision, RoutedModel
from router.errors import ArtifactError, ConfigError, DataError, WattRouteError
from router.router import Router

__all__ = [
    "ArtifactError",
    "Candidate",
    "ConfigError",
    "DataError",
    "Decision",
    "RoutedModel",
    "Router",
    "WattRouteError",
]

__version__ = "0.1.0"
