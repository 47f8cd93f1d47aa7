"""From a request and its tries to the record of it."""

from __future__ import annotations

from router.dispatch.capabilities import capabilities_of
from router.dispatch.record import Attempt, Dispatched
from router.dispatch.request import RoutedRequest
from router.dispatch.usage import Usage
from router.energy import EnergyInterval

__all__ = ["report"]

_NO_FAILURE = frozenset({"answered", "cancelled", "sent"})


def report(
    request: RoutedRequest,
    position: int,
    attempts: tuple[Attempt, ...],
    max_tokens: int | None,
    usage: Usage | None,
    finish_reason: str | None,
) -> Dispatched:
    """Return the record of a request.

    Parameters
    ----------
    request : RoutedRequest
        The request, as decided.
    position : int
        Where in its queue it stands; below 0 before the first try.
    attempts : tuple of Attempt
        The tries so far.
    max_tokens : int, optional
        The ``max_tokens`` that was sent last.
    usage : Usage, optional
        Tokens used.
    finish_reason : str, optional
        Why the answer ended.
    """
    decision, routes = request.selection.decision, request.routes
    model = request.queue[position] if position >= 0 else None
    expected = _expected_j(request, model)
    reference = None if decision is None else _expected_j(request, decision.reference)
    actual = None
    if usage is not None and model is not None and routes is not None:
        actual = routes.rates.energy_j(model, usage)
        if decision is not None and model == decision.reference:
            reference = actual  # a shorter answer than expected is luck, nothing saved
        elif decision is not None:
            # the prompt that was counted is as long for the reference model
            reference = _expected_j(request, decision.reference, usage.prompt_tokens)
    return Dispatched(
        requested=request.requested,
        model=model,
        decision=decision,
        reason=_reason(request, position),
        fallback=_fallback(request, position, attempts),
        attempts=attempts,
        excluded=request.selection.excluded,
        session_key=request.session_key,
        kept=request.selection.kept and position == 0,
        max_tokens=max_tokens,
        usage=usage,
        finish_reason=finish_reason,
        expected_energy_j=expected,
        actual_energy_j=actual,
        reference_energy_j=reference,
        routing_s=request.routing_s,
        warnings=_warnings(request, model, max_tokens, finish_reason),
    )


def _expected_j(
    request: RoutedRequest, model: str | None, prompt_tokens: float | None = None
) -> EnergyInterval | None:
    decision, routes = request.selection.decision, request.routes
    if decision is None or routes is None or model is None:
        return None
    n = request.profile.n
    if prompt_tokens is None and n == 1:
        return next((c.energy_j for c in decision.candidates if c.model == model), None)
    tokens = decision.prompt_tokens if prompt_tokens is None else prompt_tokens
    return routes.rates.expected_j(decision, model, tokens, n)


def _reason(request: RoutedRequest, position: int) -> str:
    selection = request.selection
    if position <= 0 and selection.kept:
        return "kept for this conversation: it still meets the bar"
    if position <= 0 and selection.decision is not None:
        return selection.decision.reason
    if request.queue[position] in selection.order:
        return "next candidate, because those before it gave no answer"
    return "configured default"


def _fallback(request: RoutedRequest, position: int, attempts: tuple[Attempt, ...]) -> str | None:
    if request.selection.fallback is not None:
        return f"{request.selection.fallback}; default {request.default_model} instead"
    if position <= 0:
        return None
    reasons = dict.fromkeys(
        f"{attempt.model}: {attempt.outcome}" + (f" ({attempt.message})" if attempt.message else "")
        for attempt in attempts
        if attempt.outcome not in _NO_FAILURE and attempt.model != request.queue[position]
    )
    return "; ".join(reasons) or None


def _warnings(
    request: RoutedRequest, model: str | None, max_tokens: int | None, finish_reason: str | None
) -> tuple[str, ...]:
    decision = request.selection.decision
    warnings = [] if decision is None else list(decision.warnings)
    if model is not None:
        warnings += capabilities_of(model).unknown(request.profile)
    if finish_reason == "length" and request.limit_is_ours():
        warnings.append(
            f"the answer was cut off at max_tokens={max_tokens}, which the request left open: "
            "set max_tokens"
        )
    return tuple(warnings)
