"""Choosing: which models can take a request, which the router picks, in which order to try."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from router.clusters import AUTO
from router.decision import Decision
from router.dispatch.capabilities import PlanLimits, capabilities_of
from router.dispatch.options import RoutingOptions
from router.dispatch.profile import RequestProfile
from router.dispatch.record import Exclusion
from router.dispatch.routes import LoadedRoutes
from router.errors import ConfigError
from router.messages import Prompt
from router.rules import TaskRules

__all__ = ["Selection", "select"]


@dataclass(frozen=True, slots=True)
class Selection:
    """The models of one request in the order in which to try them.

    Attributes
    ----------
    order : tuple of str
        Ids of the pool that meet the bar, the chosen one first.
    decision : Decision or None
        The router's decision; None where it failed or nothing fits.
    excluded : tuple of Exclusion
        Models that were out before choosing.
    kept : bool
        Whether the conversation's earlier model comes first for that reason.
    fallback : str or None
        Why there is no decision.
    """

    order: tuple[str, ...]
    decision: Decision | None
    excluded: tuple[Exclusion, ...]
    kept: bool = False
    fallback: str | None = None


def select(
    routes: LoadedRoutes,
    body: Mapping[str, Any],
    profile: RequestProfile,
    asked: RoutingOptions,
    out: Callable[[str], str | None],
    limits: PlanLimits | None,
    earlier: str | None,
) -> Selection:
    """Choose the models for a request; a router that fails leaves the reason, not an error.

    Parameters
    ----------
    routes : LoadedRoutes
        The router.
    body : mapping
        The request.
    profile : RequestProfile
        What it needs.
    asked : RoutingOptions
        What is asked of the router.
    out : callable
        Returns why a model is out for this key, or None.
    limits : PlanLimits, optional
        Caps of the key's plan.
    earlier : str, optional
        The model that this conversation has had so far.

    Returns
    -------
    Selection
        The models in their order.

    Raises
    ------
    ConfigError
        If the kind of the prompt is to be found by a router that knows no kinds.
    """
    if asked.group == AUTO and not routes.finds_groups:
        raise ConfigError(
            f"group is {AUTO!r}, but this router has no discovered kinds of prompts: "
            "name a kind, or leave it out"
        )
    allowed: list[str] = []
    excluded: list[Exclusion] = []
    over = None if limits is None else limits.exceeded(profile)
    for model in routes.ids:
        reason = over or out(model) or capabilities_of(model).missing(profile)
        if reason is None:
            allowed.append(model)
        else:
            excluded.append(Exclusion(model, reason))
    left_out = tuple(excluded)
    if not allowed:
        why = over or "; ".join(f"{exclusion.model}: {exclusion.reason}" for exclusion in left_out)
        return Selection((), None, left_out, fallback=f"no model of the pool fits: {why}")
    some = frozenset(allowed) if left_out else None
    try:
        decision = _route(routes, body["messages"], asked, some)
    except Exception as error:  # whatever it is, the request still gets an answer
        message = " ".join(str(error).split())[:300]
        fallback = f"the router failed: {type(error).__name__}: {message}"
        return Selection((), None, left_out, fallback=fallback)
    probability = {c.model: c.probability for c in decision.candidates}
    floor = asked.min_probability
    order = [decision.model]
    for model in decision.ranking:
        # those that cannot keep a strict floor come after the configured default, so not at all
        low = floor is not None and probability.get(model, 1.0) < floor
        if model != decision.model and not low:
            order.append(model)
    if earlier in order and _keeps(earlier, decision, probability):
        order.remove(earlier)
        return Selection((earlier, *order), decision, left_out, kept=True)
    return Selection(tuple(order), decision, left_out)


def _route(
    routes: LoadedRoutes, messages: Prompt, asked: RoutingOptions, allowed: frozenset[str] | None
) -> Decision:
    options = asked.given()
    options.pop("session", None)
    if not isinstance(routes.router, TaskRules):
        options.pop("task", None)
    return routes.router.route(messages, allowed=allowed, **options)


def _keeps(model: str, decision: Decision, probability: Mapping[str, float]) -> bool:
    """Return whether a conversation may keep its model for this turn.

    The bar is a share of the reference model's quality, so the model's probability is held
    against that share of the reference model's on the same turn.
    """
    if model == decision.model:
        return True
    least = decision.quality * probability.get(decision.reference, math.nan)
    return probability[model] >= least  # false where either is not known
