"""The drop-in client: openai's classes, and ``model="auto"`` goes where it costs least energy.

>>> from router import Router
>>> from router.client import OpenAI
>>> client = OpenAI(router=Router.load("models/default"), quality=0.98)

Then ``client.chat.completions.create(model="auto", messages=[...])`` routes, and the response
has ``decision``.
"""

from __future__ import annotations

from router.errors import MissingExtraError

try:
    import openai as _openai  # noqa: F401 - is it there?
except ModuleNotFoundError as _error:
    raise MissingExtraError("openai", "client") from _error

from router.client.answers import RoutedCompletion, decision_of
from router.client.async_client import AsyncOpenAI
from router.client.errors import BrokenAnswerError, MissingKeyError, RoutedCallError
from router.client.streams import AsyncRoutedStream, RoutedStream
from router.client.sync_client import OpenAI

__all__ = [
    "AsyncOpenAI",
    "AsyncRoutedStream",
    "BrokenAnswerError",
    "MissingKeyError",
    "OpenAI",
    "RoutedCallError",
    "RoutedCompletion",
    "RoutedStream",
    "decision_of",
]
