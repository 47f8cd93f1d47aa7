"""The dispatcher: turns chat requests into plans, for the client and the proxy alike."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

from router.dispatch.access import KeyAccess, key_fingerprint
from router.dispatch.breaker import CircuitBreaker
from router.dispatch.capabilities import PlanLimits, plan_limits
from router.dispatch.conversations import Conversations, ConversationStore, session_key
from router.dispatch.live import LiveModels
from router.dispatch.options import RoutingOptions, read_options
from router.dispatch.plan import Plan
from router.dispatch.profile import RequestProfile, profile_request
from router.dispatch.request import RoutedRequest
from router.dispatch.retry import RetryPolicy
from router.dispatch.routes import LoadedRoutes, Routes, load_routes
from router.dispatch.selection import Selection, select
from router.dispatch.state import SharedState
from router.errors import ConfigError

__all__ = ["Dispatcher"]

# A damaged router is not read again for each request.
_LOAD_AGAIN_S = 30.0


class Dispatcher:
    """Decides where chat requests go, and remembers what became of them. Thread-safe.

    It does no input or output, except that it loads a router given as a path.

    Parameters
    ----------
    router : Routes, str, Path or None
        The router; a path is loaded at the first request. None sends everything to
        `default_model`.
    quality : float
        Quality bar of requests that name none, in (0, 1].
    min_probability : float, optional
        Least probability of a good answer, for requests that name none.
    confidence, group, uncertified : optional
        As for `Router.route`, for requests that say nothing else.
    default_model : str, optional
        Where a request goes when the router fails, nothing fits, or no candidate answers; the
        router's reference model where not given.
    plan : str or PlanLimits, optional
        The plan of the API key, ``"free"``, ``"pro"`` or ``"premium"``, for its token caps.
    retry : RetryPolicy, optional
        Limits of retries.
    breaker, access, conversations, live : optional
        Shared state of one's own.
    clock : callable
        Monotonic seconds.
    rng : Random, optional
        For the jitter of waits.

    Raises
    ------
    ConfigError
        If an argument is not valid, or there is neither a router nor a default model.
    """

    def __init__(
        self,
        router: Routes | str | Path | None,
        *,
        quality: float = 0.98,
        min_probability: float | None = None,
        confidence: float | None = None,
        group: str | None = None,
        uncertified: str | None = None,
        default_model: str | None = None,
        plan: str | PlanLimits | None = None,
        retry: RetryPolicy | None = None,
        breaker: CircuitBreaker | None = None,
        access: KeyAccess | None = None,
        conversations: ConversationStore | None = None,
        live: LiveModels | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: Random | None = None,
    ) -> None:
        if router is None and default_model is None:
            raise ConfigError("there is nowhere to send requests: give a router or a default_model")
        if default_model is not None and not default_model.strip():
            raise ConfigError("default_model is blank: give the id of a model, or leave it away")
        self._options = RoutingOptions(quality, min_probability, confidence, group, uncertified)
        self._default_model = default_model
        self._limits = plan_limits(plan) if isinstance(plan, str) else plan
        self._retry = RetryPolicy() if retry is None else retry
        self._state = SharedState(
            clock=clock,
            rng=Random() if rng is None else rng,
            breaker=CircuitBreaker(clock=clock) if breaker is None else breaker,
            access=KeyAccess(clock=clock) if access is None else access,
            conversations=Conversations(clock=clock) if conversations is None else conversations,
            live=LiveModels(clock=clock) if live is None else live,
        )
        self._lock = threading.Lock()
        self._source: Routes | str | Path | None = router
        self._routes: LoadedRoutes | None = None
        self._load_error: Exception | None = None
        self._load_again = 0.0

    @property
    def router(self) -> Routes | None:
        """The router; None where there is none or it cannot be loaded."""
        try:
            routes = self._loaded()
        except Exception:
            return None
        return None if routes is None else routes.router

    @property
    def router_error(self) -> str | None:
        """Why the router could not be loaded; None where it could."""
        error = self._load_error
        return None if error is None else f"{type(error).__name__}: {error}"

    @property
    def breaker(self) -> CircuitBreaker:
        """Health of the models."""
        return self._state.breaker

    @property
    def access(self) -> KeyAccess:
        """What keys may not do."""
        return self._state.access

    @property
    def conversations(self) -> ConversationStore:
        """Models of conversations."""
        return self._state.conversations

    @property
    def live(self) -> LiveModels:
        """Models that the API serves."""
        return self._state.live

    @property
    def retry(self) -> RetryPolicy:
        """Limits of retries."""
        return self._retry

    def replace_router(self, router: Routes | str | Path) -> None:
        """Route with another router from now on; plans under way keep theirs.

        Parameters
        ----------
        router : Routes, str or Path
            The new one. If it cannot be loaded, the old one stays.

        Raises
        ------
        ArtifactError
            If it cannot be loaded.
        """
        routes = load_routes(router)
        with self._lock:
            self._source, self._routes, self._load_error = router, routes, None

    def plan(
        self,
        body: Mapping[str, Any],
        *,
        key: str | None = None,
        options: RoutingOptions | None = None,
        retry: RetryPolicy | None = None,
    ) -> Plan:
        """Decide where a chat request goes.

        Parameters
        ----------
        body : mapping
            The JSON object of the request; its ``model`` is ``"auto"`` or such as
            ``"auto:0.95"``. Its ``wattroute`` object may hold options.
        key : str, optional
            The API key that it will be sent with; only a fingerprint is kept.
        options : RoutingOptions, optional
            Go before the ``wattroute`` object and the dispatcher's own; a bar in the model's
            name goes before all.
        retry : RetryPolicy, optional
            Takes the place of the dispatcher's.

        Returns
        -------
        Plan
            What to send, step by step.

        Raises
        ------
        ConfigError
            If an option of the request is not valid or it has no messages. A router that fails
            is no error: the default model is used and the record says why.
        ArtifactError
            If the router cannot be loaded and there is no default model.
        """
        started = time.perf_counter()
        asked = read_options(body, options).over(self._options)
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise ConfigError("messages must be a list of at least one chat message")
        profile = profile_request(body)
        fingerprint = key_fingerprint(key)
        conversation = session_key(body, asked.session, fingerprint)
        routes, selection = self._select(body, profile, asked, fingerprint, conversation)
        policy = self._retry if retry is None else retry
        default = self._default(routes)
        queue = selection.order[: policy.max_candidates]
        if default not in queue:
            queue = (*queue, default)
        request = RoutedRequest(
            requested=body["model"],
            asked=asked,
            body=body,
            profile=profile,
            selection=selection,
            default_model=default,
            queue=queue,
            routes=routes,
            limits=self._limits,
            fingerprint=fingerprint,
            session_key=conversation,
            routing_s=time.perf_counter() - started,
        )
        return Plan(request, policy, self._state)

    def _select(
        self,
        body: Mapping[str, Any],
        profile: RequestProfile,
        asked: RoutingOptions,
        fingerprint: str,
        conversation: str | None,
    ) -> tuple[LoadedRoutes | None, Selection]:
        try:
            routes = self._loaded()
        except Exception as error:
            if self._default_model is None:
                raise
            message = " ".join(str(error).split())[:300]
            fallback = f"the router cannot be loaded: {type(error).__name__}: {message}"
            return None, Selection((), None, (), fallback=fallback)
        if routes is None:
            return None, Selection((), None, (), fallback="there is no router")
        earlier = None if conversation is None else self._state.conversations.get(conversation)
        access, live = self._state.access, self._state.live

        def out(model: str) -> str | None:
            refusal = access.reason(fingerprint, model)
            if refusal is None and live.resolve(model, fingerprint=fingerprint) is None:
                return "not in the API's list of models"
            return refusal

        return routes, select(routes, body, profile, asked, out, self._limits, earlier)

    def _loaded(self) -> LoadedRoutes | None:
        """Return the router, loaded once; one that cannot be loaded is tried again later."""
        if self._routes is not None or self._source is None:
            return self._routes
        with self._lock:
            if self._routes is None:
                now = self._state.clock()
                if self._load_error is not None and now < self._load_again:
                    raise self._load_error.with_traceback(None)
                try:
                    self._routes = load_routes(self._source)
                except Exception as error:
                    self._load_error, self._load_again = error, now + _LOAD_AGAIN_S
                    raise
                self._load_error = None
            return self._routes

    def _default(self, routes: LoadedRoutes | None) -> str:
        if self._default_model is not None:
            return self._default_model
        if routes is None:  # _select has raised before
            raise ConfigError("there is no router and no default_model")
        return routes.router.reference
