"""One routed request, as decided: what does not change while it is tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from router.dispatch.capabilities import PlanLimits, capabilities_of
from router.dispatch.options import EXTENSION, RoutingOptions
from router.dispatch.profile import RequestProfile
from router.dispatch.routes import LoadedRoutes
from router.dispatch.selection import Selection

__all__ = ["RoutedRequest"]

# An answer may be this many times as long as the upper end of what is expected, and in any
# case this long, before a limit that nobody asked for cuts it off.
_MARGIN = 4.0
_LEAST_LIMIT = 4_096
_LONGEST_LIMIT = 131_072
# with less than this left of the context window, the window is not what limits the answer
_LEAST_ROOM = 256


@dataclass(frozen=True, slots=True)
class RoutedRequest:
    """One routed request, as decided.

    Attributes
    ----------
    requested : str
        The model name in it.
    asked : RoutingOptions
        What is asked of the router, with what holds where the request says nothing.
    body : mapping
        The request as the caller sent it.
    profile : RequestProfile
        What it needs.
    selection : Selection
        The models in their order.
    default_model : str
        The configured default.
    queue : tuple of str
        Ids in the order in which to try them, the configured default included.
    routes : LoadedRoutes or None
        The router; None where it could not be loaded.
    limits : PlanLimits or None
        Caps of the key's plan.
    fingerprint : str
        The API key's fingerprint.
    session_key : str or None
        Hash that names the conversation.
    routing_s : float
        Seconds that deciding took.
    """

    requested: str
    asked: RoutingOptions
    body: Mapping[str, Any]
    profile: RequestProfile
    selection: Selection
    default_model: str
    queue: tuple[str, ...]
    routes: LoadedRoutes | None
    limits: PlanLimits | None
    fingerprint: str
    session_key: str | None
    routing_s: float

    def __repr__(self) -> str:
        return f"RoutedRequest({self.requested!r}, queue={self.queue!r})"  # never the body

    def body_for(self, model: str, served_as: str) -> dict[str, Any]:
        """Return the body to send to a model.

        Parameters
        ----------
        model : str
            Id of the pool.
        served_as : str
            The same model's id as the API spells it.

        Returns
        -------
        dict
            The caller's own values, with the model set, the router's options left away, and a
            ``max_tokens`` where the caller gave none: servers may cut answers off at 256.
        """
        body = {key: value for key, value in self.body.items() if key != EXTENSION}
        body["model"] = served_as
        if body.get("max_tokens") is None:
            limit = body.get("max_completion_tokens")
            body["max_tokens"] = self.answer_limit(model) if limit is None else limit
        return body

    def answer_limit(self, model: str) -> int:
        """Return the most tokens of an answer where the caller does not say: never a tight limit.

        Several times the upper end of the length that is expected of this model, within what
        its context window and the plan leave. It ends runaway answers, not ordinary ones.
        """
        limit = float(_LEAST_LIMIT)
        decision = self.selection.decision
        for candidate in () if decision is None else decision.candidates:
            if candidate.model == model and self.routes is not None:
                longest = self.routes.longest(model, candidate.completion_tokens)
                limit = max(limit, _MARGIN * longest)
        window = capabilities_of(model).context_window
        room = _LONGEST_LIMIT if window is None else window - self.profile.prompt_tokens
        if room < _LEAST_ROOM:
            # that the prompt hardly fits is only an estimate: the server knows
            room = _LEAST_LIMIT
        cap = None if self.limits is None else self.limits.max_completion_tokens
        room = room if cap is None else min(room, cap)
        return max(min(int(limit), room, _LONGEST_LIMIT), 1)

    def limit_is_ours(self) -> bool:
        """Return whether the caller left ``max_tokens`` to WattRoute."""
        keys = ("max_tokens", "max_completion_tokens")
        return all(self.body.get(key) is None for key in keys)
