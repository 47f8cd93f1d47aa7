"""One routed request under way: what to send next, told what became of the last try."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from router.decision import Decision
from router.dispatch.failure import Failure
from router.dispatch.options import RoutingOptions
from router.dispatch.profile import RequestProfile
from router.dispatch.record import Attempt, Dispatched
from router.dispatch.report import report
from router.dispatch.request import RoutedRequest
from router.dispatch.retry import RetryPolicy
from router.dispatch.state import SharedState
from router.dispatch.usage import Usage

__all__ = ["Plan", "Step"]

_STOPS = frozenset({"auth", "bad_request", "broken", "quota"})
_NEXT = frozenset({"capability", "forbidden", "not_found"})
_UNHEALTHY = frozenset({"broken", "connection", "invalid_response", "timeout", "unavailable"})


@dataclass(frozen=True, slots=True)
class Step:
    """One try.

    Attributes
    ----------
    model : str
        Id to send, as the API spells it.
    body : dict
        The request with this model and a ``max_tokens``; all else is the caller's own objects.
    wait_s : float
        Seconds to wait before sending.
    max_tokens : object
        The ``max_tokens`` in it.
    """

    model: str
    body: dict[str, Any]
    wait_s: float
    max_tokens: Any


class Plan:
    """The tries of one request. Not thread-safe: one request is one thread's or task's.

    It decides and remembers; the caller sends and sleeps::

        while (step := plan.next()) is not None:
            sleep(step.wait_s)
            ... send step.body, then one of plan.failed(failure) and plan.began()

    After :meth:`began` comes :meth:`finished`, :meth:`broke` or :meth:`cancelled`.

    Parameters
    ----------
    request : RoutedRequest
        The request, as decided.
    retry : RetryPolicy
        Limits of retries.
    state : SharedState
        What requests share.

    Attributes
    ----------
    failure : Failure or None
        The last one; the reason where :meth:`next` has nothing more to try.
    """

    __slots__ = (
        "_again_s",
        "_attempts",
        "_finish_reason",
        "_n_sent",
        "_only_try",
        "_phase",
        "_position",
        "_request",
        "_retry",
        "_started",
        "_state",
        "_step",
        "_tries",
        "_usage",
        "_waited_s",
        "failure",
    )

    def __init__(self, request: RoutedRequest, retry: RetryPolicy, state: SharedState) -> None:
        self._request = request
        self._retry = retry
        self._state = state
        self._started = state.clock()
        self._phase: Literal["ready", "sent", "began", "over"] = "ready"
        self._position = -1
        self._tries = 0
        self._n_sent = 0
        self._only_try = False
        self._again_s: float | None = None
        self._waited_s = 0.0
        self._step: Step | None = None
        self._attempts: list[Attempt] = []
        self._usage: Usage | None = None
        self._finish_reason: str | None = None
        self.failure: Failure | None = None

    @property
    def decision(self) -> Decision | None:
        """The router's decision; None where it failed or nothing fits."""
        return self._request.selection.decision

    @property
    def asked(self) -> RoutingOptions:
        """What is asked of the router, with what holds where the request says nothing."""
        return self._request.asked

    @property
    def profile(self) -> RequestProfile:
        """What the request needs."""
        return self._request.profile

    @property
    def session_key(self) -> str | None:
        """Hash that names the conversation."""
        return self._request.session_key

    @property
    def fallback(self) -> str | None:
        """Why the answer is not from the model that the router chose; None where it is."""
        return self.record().fallback

    @property
    def answering(self) -> bool:
        """Whether an answer has begun and not ended."""
        return self._phase == "began"

    @property
    def over(self) -> bool:
        """Whether nothing more is to be reported."""
        return self._phase == "over"

    def next(self) -> Step | None:
        """Return what to send now, or None where there is nothing more to try.

        Raises
        ------
        RuntimeError
            If the last step was not reported, or an answer has begun.
        """
        if self._phase == "over":
            return None
        if self._phase != "ready":
            raise RuntimeError("report the last step with failed() first; a begun answer is final")
        queue = self._request.queue
        rest = self._state.access.paused(self._request.fingerprint)
        if rest is not None:
            self.failure = rest
            self._note(queue[max(self._position, 0)], "skipped", f"key rests: {rest.message}")
            self._phase = "over"
            return None
        if self._again_s is not None:
            return self._send(self._again_s)
        while self._position + 1 < len(queue):
            self._position += 1
            self._tries = 0
            obstacle = self._obstacle(queue[self._position])
            if obstacle is None:
                return self._send(0.0)
            self._note(queue[self._position], "skipped", obstacle)
        if self._n_sent == 0:
            # every circuit is open or every model refused: one try beats none
            self._position = 0
            self._only_try = True
            return self._send(0.0)
        self._phase = "over"
        return None

    def failed(self, failure: Failure) -> None:
        """Report that a try gave no answer and nothing of one was passed on.

        Parameters
        ----------
        failure : Failure
            Why.
        """
        model = self._sent_model()
        self._phase = "ready"
        self.failure = failure
        self._close(failure.kind, failure)
        access, fingerprint = self._state.access, self._request.fingerprint
        if failure.kind in _UNHEALTHY:
            self._state.breaker.failure(model)
        else:
            self._state.breaker.release(model)
        if failure.kind in ("forbidden", "not_found"):
            access.refuse(fingerprint, model, f"answered {failure.status}: {failure.message}")
        elif failure.kind == "quota" and failure.daily_limit is not None:
            access.pause(fingerprint, failure)
        if failure.kind in _STOPS or self._only_try:
            self._phase = "over"
        elif failure.kind not in _NEXT:
            self._again_s = self._wait_s(model, failure)

    def began(self, *, followed: bool = True) -> None:
        """Report that the answer began: from here on nothing is sent again.

        Parameters
        ----------
        followed : bool
            Whether its end will be reported. Where not, the model counts as healthy now.
        """
        model = self._sent_model()
        self._phase = "began"
        if not followed:
            self._state.breaker.success(model)
        self._close("answered", None)

    def finished(self, usage: Usage | None = None, finish_reason: str | None = None) -> None:
        """Report that the answer is whole.

        Parameters
        ----------
        usage : Usage, optional
            Tokens used, as the server or a count tells.
        finish_reason : str, optional
            Why the answer ended.
        """
        if self._phase == "sent":
            self.began()
        if self._phase != "began":
            raise RuntimeError("no answer has begun")
        self._phase = "over"
        self._usage = usage
        self._finish_reason = finish_reason
        self._state.breaker.success(self._request.queue[self._position])
        if self.session_key is not None:
            self._state.conversations.put(self.session_key, self._request.queue[self._position])

    def broke(self, failure: Failure) -> None:
        """Report that an answer that had begun broke off.

        Parameters
        ----------
        failure : Failure
            How.
        """
        if self._phase != "began":
            raise RuntimeError("no answer has begun")
        self._phase = "over"
        self.failure = failure
        self._state.breaker.failure(self._request.queue[self._position])
        self._attempts[-1] = replace(
            self._attempts[-1], outcome=failure.kind, message=failure.message
        )

    def cancelled(self) -> None:
        """Report that the caller went away; does nothing once the request is over."""
        if self._phase == "sent":
            self._state.breaker.release(self._sent_model())
            self._close("cancelled", None)
        elif self._phase == "began":
            self._state.breaker.release(self._request.queue[self._position])
            self._attempts[-1] = replace(self._attempts[-1], outcome="cancelled")
        self._phase = "over"

    def record(self) -> Dispatched:
        """Return what is known of the request now."""
        return report(
            self._request,
            self._position,
            tuple(self._attempts),
            None if self._step is None else self._step.max_tokens,
            self._usage,
            self._finish_reason,
        )

    def _send(self, wait_s: float) -> Step:
        self._again_s = None
        model = self._request.queue[self._position]
        fingerprint = self._request.fingerprint
        served_as = self._state.live.resolve(model, fingerprint=fingerprint) or model
        body = self._request.body_for(model, served_as)
        self._phase = "sent"
        self._tries += 1
        self._n_sent += 1
        self._waited_s += wait_s
        self._note(served_as, "sent", "", wait_s)
        self._step = Step(served_as, body, wait_s, body["max_tokens"])
        return self._step

    def _obstacle(self, model: str) -> str | None:
        """Return why a model is not worth a try now, or None; takes a probe of its circuit."""
        if self._elapsed_s() > self._retry.max_elapsed_s:
            return "no time left"
        refusal = self._state.access.reason(self._request.fingerprint, model)
        if refusal is not None:
            return refusal
        return None if self._state.breaker.allow(model) else "circuit open after failures"

    def _wait_s(self, model: str, failure: Failure) -> float | None:
        """Return the wait before the same model is tried again, or None for the next one."""
        retry = self._retry
        wait_s = retry.backoff_s(self._tries, self._state.rng)
        if failure.retry_after_s is not None:
            if failure.retry_after_s > retry.max_retry_after_s:
                self._state.access.refuse(
                    self._request.fingerprint,
                    model,
                    f"asked to wait {failure.retry_after_s:.0f} s",
                    failure.retry_after_s,
                )
                return None
            # a little later than asked, so that those who were sent away together do not return so
            wait_s = failure.retry_after_s + 0.1 * wait_s
        spent = self._tries >= retry.tries_per_model
        if failure.kind == "rate_limit" and self._n_sent > self._tries:
            # another model has failed before: it is the key that is too fast, not one model
            spent = True
        late = self._elapsed_s() + wait_s > retry.max_elapsed_s
        if spent or late or self._waited_s + wait_s > retry.max_wait_s:
            return None
        return wait_s if self._state.breaker.allow(model) else None

    def _elapsed_s(self) -> float:
        return self._state.clock() - self._started

    def _sent_model(self) -> str:
        if self._phase != "sent":
            raise RuntimeError("nothing was sent: call next() first")
        return self._request.queue[self._position]

    def _note(self, model: str, outcome: str, message: str, wait_s: float = 0.0) -> None:
        self._attempts.append(Attempt(model, outcome, None, wait_s, message))

    def _close(self, outcome: str, failure: Failure | None) -> None:
        last = self._attempts[-1]
        if failure is None:
            self._attempts[-1] = Attempt(last.model, outcome, wait_s=last.wait_s)
        else:
            self._attempts[-1] = replace(
                last,
                outcome=outcome,
                status=failure.status,
                message=failure.message,
                request_id=failure.request_id,
            )
