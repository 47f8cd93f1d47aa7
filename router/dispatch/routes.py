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

__all__ = ["LoadedRoutes", "Routes", "load_routes"]

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
        min_probability: float | None = ...,
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
    """

    router: Routes
    ids: tuple[str, ...]
    rates: EnergyRates
    token_high: dict[str, float]

    @classmethod
    def of(cls, router: Routes) -> LoadedRoutes:
        """Return a router ready for dispatching."""
        artifact = getattr(router, "artifact", None)
        pool = getattr(artifact, "pool", None) or getattr(router, "pool", None)
        ids = tuple(model.id for model in router.models)
        models = pool.models if isinstance(pool, Pool) else ()
        high = getattr(artifact, "token_high", ())
        return cls(
            router=router,
            ids=ids,
            rates=EnergyRates({model.api_id: model for model in models}),
            token_high=dict(zip(ids, high, strict=False)),
        )

    def longest(self, model: str, completion_tokens: float) -> float:
        """Return the upper end of an answer's length in tokens."""
        return completion_tokens * max(self.token_high.get(model, _TOKEN_HIGH), 1.0)


def load_routes(router: Routes | str | Path) -> LoadedRoutes:
    """Return a router ready for dispatching; a path is loaded as a stored router.

    Raises
    ------
    ArtifactError
        If a stored router cannot be loaded.
    """
    if isinstance(router, str | Path):
        # numpy loads here, and only for routers that are learned
        from router.router import Router

        return LoadedRoutes.of(Router.load(router))
    return LoadedRoutes.of(router)
