"""``client.chat.completions`` with the router's options and the decision in its types."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from functools import cached_property
from typing import Any, Required, overload

from openai.resources.chat import AsyncChat, AsyncCompletions, Chat, Completions
from openai.types.chat import ChatCompletionChunk
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsBase,
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)
from typing_extensions import TypedDict, Unpack

from router.client.answers import RoutedCompletion
from router.client.streams import AsyncRoutedStream, RoutedStream
from router.dispatch import parse_routing_name
from router.dispatch.options import EXTENSION, OPTION_NAMES

__all__ = [
    "AsyncRoutedChat",
    "AsyncRoutedCompletions",
    "RoutedChat",
    "RoutedCompletions",
]


class _Call(TypedDict, total=False):
    """What a call may say beside the API's own parameters."""

    quality: float
    min_probability: float
    confidence: float
    group: str
    uncertified: str
    session: str
    task: str
    extra_headers: Mapping[str, Any] | None
    extra_query: Mapping[str, Any] | None
    extra_body: object | None
    timeout: Any


class _Whole(CompletionCreateParamsNonStreaming, _Call, total=False):
    pass


class _Streamed(CompletionCreateParamsStreaming, _Call, total=False):
    pass


class _Either(CompletionCreateParamsBase, _Call, total=False):
    stream: Required[bool]


class RoutedCompletions(Completions):
    """Chat completions that take the router's options."""

    @overload  # type: ignore[override]
    def create(self, **params: Unpack[_Whole]) -> RoutedCompletion: ...
    @overload
    def create(self, **params: Unpack[_Streamed]) -> RoutedStream[ChatCompletionChunk]: ...
    @overload
    def create(
        self, **params: Unpack[_Either]
    ) -> RoutedCompletion | RoutedStream[ChatCompletionChunk]: ...
    def create(self, **params: Any) -> Any:
        """Create a chat completion; see openai's own for the API's parameters.

        Parameters
        ----------
        **params
            Those of openai, and for ``model="auto"`` those of
            `router.dispatch.RoutingOptions`: ``quality``, ``min_probability``, ``confidence``,
            ``group``, ``uncertified``, ``session`` and ``task``.

        Returns
        -------
        RoutedCompletion or RoutedStream
            With ``decision``.
        """
        return super().create(**_with_extension(params))


class AsyncRoutedCompletions(AsyncCompletions):
    """The same as `RoutedCompletions`, asynchronous."""

    @overload  # type: ignore[override]
    def create(self, **params: Unpack[_Whole]) -> Awaitable[RoutedCompletion]: ...
    @overload
    def create(
        self, **params: Unpack[_Streamed]
    ) -> Awaitable[AsyncRoutedStream[ChatCompletionChunk]]: ...
    @overload
    def create(
        self, **params: Unpack[_Either]
    ) -> Awaitable[RoutedCompletion | AsyncRoutedStream[ChatCompletionChunk]]: ...
    async def create(self, **params: Any) -> Any:
        """Create a chat completion; see `RoutedCompletions.create`."""
        return await super().create(**_with_extension(params))


class RoutedChat(Chat):
    """``client.chat``."""

    @cached_property
    def completions(self) -> RoutedCompletions:
        """Chat completions."""
        return RoutedCompletions(self._client)


class AsyncRoutedChat(AsyncChat):
    """``client.chat`` of the asynchronous client."""

    @cached_property
    def completions(self) -> AsyncRoutedCompletions:
        """Chat completions."""
        return AsyncRoutedCompletions(self._client)


def _with_extension(params: dict[str, Any]) -> dict[str, Any]:
    """Move the router's options into the body's own object for them."""
    options = {key: params.pop(key) for key in OPTION_NAMES if key in params}
    if not options or parse_routing_name(params.get("model")) is None:
        return params
    body = dict(params.get("extra_body") or {})
    body[EXTENSION] = {**(body.get(EXTENSION) or {}), **options}
    return params | {"extra_body": body}
