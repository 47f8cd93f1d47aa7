"""Errors of routed calls that openai has no class for.

::

    UpstreamError, openai.APIError
    └── RoutedCallError          no candidate answered, for a reason without an HTTP response
        └── BrokenAnswerError    an answer began and broke off (an openai.APIConnectionError too)
    ConfigError, openai.OpenAIError
    └── MissingKeyError          there is no API key

All other failures are raised as openai's own exceptions, so that programs written for openai
keep working.
"""

from __future__ import annotations

from typing import Any

import openai

from router.dispatch import Dispatched, Failure
from router.errors import ConfigError, UpstreamError

__all__ = ["BrokenAnswerError", "MissingKeyError", "RoutedCallError"]


class RoutedCallError(UpstreamError, openai.APIError):
    """No candidate answered.

    Parameters
    ----------
    failure : Failure
        The last one.
    request : httpx.Request
        The last request.
    decision : Dispatched, optional
        The record of the call.

    Attributes
    ----------
    failure : Failure
        The last one.
    decision : Dispatched or None
        The record of the call, with every try.
    """

    def __init__(self, failure: Failure, request: Any, decision: Dispatched | None = None) -> None:
        # the two bases take different arguments
        Exception.__init__(self, failure.message)
        self.message: str = failure.message
        self.request = request
        self.body: object | None = None
        self.code: str | None = failure.code
        self.param: str | None = None
        self.type: str | None = f"upstream_{failure.kind}"
        self.status: int | None = failure.status
        self.request_id: str | None = failure.request_id
        self.retryable: bool = failure.retryable
        self.failure = failure
        self.decision = decision


class BrokenAnswerError(RoutedCallError, openai.APIConnectionError):
    """An answer began and broke off: what has come is not the whole of it."""


class MissingKeyError(ConfigError, openai.OpenAIError):
    """There is no API key."""
