"""How the clients are set up: the API's address, the key, what they ask of the router."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from router.client.errors import MissingKeyError
from router.dispatch import Dispatcher, PlanLimits, RetryPolicy, Routes, RoutingOptions
from router.errors import ConfigError

__all__ = [
    "BASE_URL",
    "KEY_VARIABLE",
    "Routing",
    "environment_key",
    "environment_key_async",
]

BASE_URL = "https://api.oxlo.ai/v1"
"""Oxlo's API."""

KEY_VARIABLE = "OXLO_API_KEY"
"""Environment variable that the key is read from, at each request."""

_MAX_RETRIES = 2


def environment_key() -> str:
    """Return the API key of the environment.

    Raises
    ------
    MissingKeyError
        If there is none.
    """
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key:
        raise MissingKeyError(
            f"there is no API key: set the environment variable {KEY_VARIABLE} or give api_key"
        )
    return key


async def environment_key_async() -> str:
    """Return the API key of the environment, for the asynchronous client."""
    return environment_key()


@dataclass(frozen=True, slots=True)
class Routing:
    """What one client asks of the router.

    Attributes
    ----------
    dispatcher : Dispatcher
        Shared with all copies of the client.
    asked : RoutingOptions
        Holds where a request says nothing.
    live_models : bool
        Whether to ask the API which models it serves.
    max_retries : int
        Retries on one model.
    """

    dispatcher: Dispatcher
    asked: RoutingOptions
    live_models: bool
    max_retries: int

    @classmethod
    def build(
        cls,
        router: Routes | str | Path | None,
        dispatcher: Dispatcher | None,
        asked: RoutingOptions,
        live_models: bool,
        max_retries: int | None,
        default_model: str | None,
        plan: str | PlanLimits | None,
        retry: RetryPolicy | None,
    ) -> Routing:
        """Return the settings of a client from its arguments.

        Raises
        ------
        ConfigError
            If an argument is not valid, or there is both a dispatcher and what it is made of.
        """
        if dispatcher is None:
            dispatcher = Dispatcher(router, default_model=default_model, plan=plan, retry=retry)
        elif any(given is not None for given in (router, default_model, plan, retry)):
            raise ConfigError(
                "a dispatcher has its own router, default_model, plan and retry: leave these away"
            )
        if max_retries is None:
            max_retries = _MAX_RETRIES if retry is None else retry.tries_per_model - 1
        return cls(
            dispatcher=dispatcher,
            asked=asked,
            live_models=live_models,
            max_retries=max_retries,
        )

    def for_copy(self, asked: RoutingOptions) -> dict[str, Any]:
        """Return the arguments for a copy of the client; what is not asked stays."""
        kept = {"dispatcher": self.dispatcher, "live_models": self.live_models}
        return {**asked.over(self.asked).given(), **kept}

    def extension(self) -> dict[str, Any]:
        """Return the router's options for a request that has none of its own."""
        return self.asked.given()

    def retry(self, max_retries: int) -> RetryPolicy:
        """Return the limits of retries with openai's ``max_retries`` for one model."""
        return replace(self.dispatcher.retry, tries_per_model=max_retries + 1)
