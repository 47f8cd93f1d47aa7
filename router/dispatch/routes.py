"""What the dispatcher needs of a router, and what it knows of one beyond its decisions."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from router.decision import Decision, RoutedModel
from router.dispatch.usage import EnergyRates
from router.messages import Prompt
from router.pool import Pool

__all__ = ["LoadedRoutes", "Routes", "load_router", "load_routes"]

# Upper end of an answer's length over the expected one, where a router does not know its own.
_TOKEN_HIGH = 3.0


class Routes(Protocol):
    """A router: `router.Router`, `router.rules.TaskRules` or anything that decides like them."""

    @property
    def models(self) -> tuple[RoutedModel, ...]:
        """The models that it may choose."""
        ...

    @property
    def reference(self) -> str:
        """Id of the reference model."""
        ...

    def route(
        self,
        prompt: Prompt,
        *,
        quality: float = ...,
        confidence: float = ...,
        min_probability: float | None = ...,
        group: str | None = ...,
        uncertified: str | None = ...,
        allowed: Collection[str] | None = ...,
    ) -> Decision:
        """Choose the model for one prompt."""
        ...


@dataclass(frozen=True, slots=True)
class LoadedRoutes:
    """A router with what dispatching looks up in it again and again.

    Attributes
    ----------
    router : Routes
        The router.
    ids : tuple of str
        Ids of its models.
    rates : EnergyRates
        Joules per token of its models.
    token_high : dict of str to float
        Upper end of an answer's length over the expected one, by model.
    finds_groups : bool
        Whether it can be asked to find the kind of a prompt.
    """

    router: Routes
    ids: tuple[str, ...]
    rates: EnergyRates
    token_high: dict[str, float]
    finds_groups: bool

    @classmethod
    def of(cls, router: Routes) -> LoadedRoutes:
        """Return a router ready for dispatching."""
        artifact = getattr(router, "artifact", None)
        pool = getattr(artifact, "pool", None) or getattr(router, "pool", None)
        ids = tuple(model.id for model in router.models)
        models = pool.models if isinstance(pool, Pool) else ()
        high = getattr(artifact, "token_high", ())
        calibration = getattr(artifact, "calibration", None)
        clusters = getattr(calibration, "clusters", None)
        return cls(
            router=router,
            ids=ids,
            rates=EnergyRates({model.api_id: model for model in models}),
            token_high=dict(zip(ids, high, strict=False)),
            finds_groups=artifact is None or clusters is not None,
        )

    def longest(self, model: str, completion_tokens: float) -> float:
        """Return the upper end of an answer's length in tokens."""
        return completion_tokens * max(self.token_high.get(model, _TOKEN_HIGH), 1.0)


def load_routes(router: Routes | str | Path) -> LoadedRoutes:
    """Return a router ready for dispatching; what is not one yet is loaded.

    Parameters
    ----------
    router : Routes, str or Path
        A router, or what :func:`load_router` takes.

    Raises
    ------
    ArtifactError, ConfigError
        If it cannot be loaded.
    """
    return LoadedRoutes.of(load_router(router) if isinstance(router, str | Path) else router)


def load_router(source: str | Path | None) -> Routes:
    """Load a router.

    Parameters
    ----------
    source : str or Path, optional
        A TOML file of task rules, or what `Router.load` takes; the bundled router where absent.

    Returns
    -------
    Routes
        Ready to route.

    Raises
    ------
    ArtifactError, ConfigError
        If it cannot be loaded.
    """
    if source is not None and Path(source).suffix.lower() == ".toml":
        from router.rules import TaskRules

        return TaskRules.load(source)
    # what only a learned router needs loads here
    from router.router import Router

    return Router.load(source)
