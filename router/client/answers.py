"""The decision on a response, whatever kind of response it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from openai import BaseModel
from openai._legacy_response import LegacyAPIResponse
from openai._response import BaseAPIResponse
from openai.types.chat import ChatCompletion

from router.client.streams import AsyncRoutedStream, RoutedStream
from router.dispatch import Dispatched, Plan, usage_of

__all__ = ["Recorder", "RoutedCompletion", "decision_of", "finish_reason_of"]


class RoutedCompletion(ChatCompletion):
    """A chat completion with the decision that led to it.

    Serialised, it is the server's answer alone.
    """

    @property
    def decision(self) -> Dispatched | None:
        """The record of the call; None where the model was named and nothing routed."""
        found = self.__dict__.get("_decision")
        return found if isinstance(found, Dispatched) else None


class Recorder:
    """Puts the record of a call on what its response is parsed into.

    openai calls it with each parsed response, after the parser of ``.parse()`` where there is
    one.

    Parameters
    ----------
    plan : Plan
        The call.
    parser : callable, optional
        The parser that the call came with.
    """

    def __init__(self, plan: Plan, parser: Callable[[Any], Any] | None) -> None:
        self.plan = plan
        self._parser = parser
        self._raw: Any = None

    def __call__(self, parsed: Any) -> Any:
        """Return the parsed response with its record."""
        if isinstance(parsed, RoutedStream | AsyncRoutedStream):
            parsed.follow(self.plan)
            return parsed
        if isinstance(parsed, ChatCompletion) and not self.plan.over:
            # the body of a streaming response, which is read as late as this
            content = parsed.to_dict()
            self.plan.finished(usage_of(content), finish_reason_of(content))
        if self._parser is not None:
            parsed = self._parser(parsed)
        record = self.plan.record()
        if isinstance(parsed, BaseModel):
            # beside the fields, where openai keeps its own _request_id: not serialised
            parsed.__dict__["_decision"] = record
            if not isinstance(parsed, RoutedCompletion):
                parsed.__dict__["decision"] = record
        if self._raw is not None:
            self._raw.decision = record
        return parsed

    def kept_on(self, response: Any) -> Any:
        """Return a response of openai's; one that is not parsed yet gets the record so far."""
        if isinstance(response, LegacyAPIResponse | BaseAPIResponse):
            self._raw = response
            response.decision = self.plan.record()  # type: ignore[union-attr]
        return response


def decision_of(response: object) -> Dispatched | None:
    """Return the record of a routed call from any response to it, or from its error.

    Parameters
    ----------
    response : object
        A completion, a stream, a raw or streaming response, the stream helper's stream, or an
        exception that the call raised.

    Returns
    -------
    Dispatched or None
        As of now: the energy used is known once the answer is whole. None where nothing was
        routed.
    """
    stream = getattr(response, "_raw_stream", None)  # of client.chat.completions.stream()
    if stream is not None:
        return decision_of(stream)
    if isinstance(response, RoutedStream | AsyncRoutedStream):
        return response.decision
    options = getattr(response, "_options", None)
    recorder = getattr(options, "post_parser", None)
    if isinstance(recorder, Recorder):
        return recorder.plan.record()
    attributes = getattr(response, "__dict__", {})
    found = attributes.get("_decision", attributes.get("decision"))
    return found if isinstance(found, Dispatched) else None


def finish_reason_of(content: Any) -> str | None:
    """Return the finish reason of a completion; ``"length"`` if any of its answers was cut off."""
    reasons = [
        choice.get("finish_reason") for choice in content["choices"] if isinstance(choice, dict)
    ]
    if "length" in reasons:
        return "length"
    return next((reason for reason in reasons if isinstance(reason, str)), None)
