"""The asynchronous client: openai's, with routing before each call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self, cast

import anyio
import openai
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from router.client.answers import Recorder, RoutedCompletion
from router.client.calls import (
    SESSION_HEADER,
    answered,
    broken_body,
    chunk_type,
    current_plan,
    failure_of,
    final_error,
    header,
    is_raw,
    list_options,
    parser_of,
    reads_late,
    routed_body,
    sending,
    try_options,
)
from router.client.chat import AsyncRoutedChat
from router.client.settings import BASE_URL, Routing, environment_key, environment_key_async
from router.client.streams import AsyncRoutedStream
from router.dispatch import Dispatcher, PlanLimits, RetryPolicy, Routes, RoutingOptions

__all__ = ["AsyncOpenAI"]


class AsyncOpenAI(openai.AsyncOpenAI):
    """openai's asynchronous client with ``model="auto"``.

    It takes what `router.client.OpenAI` takes; an `api_key` that is a function is asynchronous.

    Raises
    ------
    ConfigError
        If an argument is not valid.

    Examples
    --------
    >>> from router import Router
    >>> from router.client import AsyncOpenAI
    >>> client = AsyncOpenAI(router=Router.load(), quality=0.95)
    >>> str(client.base_url)
    'https://api.oxlo.ai/v1/'
    """

    def __init__(
        self,
        *,
        router: Routes | str | Path | None = None,
        quality: float = 0.98,
        min_probability: float | None = None,
        confidence: float | None = None,
        group: str | None = None,
        uncertified: str | None = None,
        default_model: str | None = None,
        plan: str | PlanLimits | None = None,
        retry: RetryPolicy | None = None,
        live_models: bool = True,
        dispatcher: Dispatcher | None = None,
        api_key: str | Callable[[], Awaitable[str]] | None = None,
        base_url: Any = None,
        max_retries: int | None = None,
        organization: str | None = None,
        project: str | None = None,
        admin_api_key: str | None = None,
        **options: Any,
    ) -> None:
        self._routing = Routing.build(
            router,
            dispatcher,
            RoutingOptions(quality, min_probability, confidence, group, uncertified),
            live_models,
            max_retries,
            default_model,
            plan,
            retry,
        )
        super().__init__(
            api_key=environment_key_async if api_key is None else api_key,
            base_url=BASE_URL if base_url is None else base_url,
            max_retries=self._routing.max_retries,
            **options,
        )
        # openai takes them from the environment, which is about another API
        self.organization: str | None = organization
        self.project: str | None = project
        self.admin_api_key = admin_api_key

    @cached_property
    def chat(self) -> AsyncRoutedChat:
        """Chat, with completions that route."""
        return AsyncRoutedChat(self)

    @property
    def dispatcher(self) -> Dispatcher:
        """What decides and remembers; shared with copies of this client."""
        return self._routing.dispatcher

    def copy(
        self,
        *,
        quality: float | None = None,
        min_probability: float | None = None,
        confidence: float | None = None,
        group: str | None = None,
        uncertified: str | None = None,
        _extra_kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Self:
        """Return a client with some options changed and the same router.

        Parameters
        ----------
        quality, min_probability, confidence, group, uncertified : optional
            As for the class; what is not given stays.
        **options
            As for openai's ``copy``.
        """
        asked = RoutingOptions(quality, min_probability, confidence, group, uncertified)
        routing = self._routing.for_copy(asked)
        copied = super().copy(_extra_kwargs={**(_extra_kwargs or {}), **routing}, **options)
        return copied

    with_options = copy

    async def request(
        self, cast_to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None
    ) -> Any:
        """Send a request; one for ``model="auto"`` is routed."""
        body = routed_body(options, self._routing.extension())
        if cast_to is ChatCompletion:
            cast_to = RoutedCompletion
        chunk = chunk_type(stream_cls)
        if stream and (body is not None or chunk is ChatCompletionChunk):
            stream_cls = cast(Any, AsyncRoutedStream)[chunk or ChatCompletionChunk]
        if body is None:
            with sending(None):
                return await super().request(cast_to, options, stream=stream, stream_cls=stream_cls)
        key = self._key(options)
        await self._refresh_models(key, options)
        plan = self.dispatcher.plan(
            body,
            key=key,
            options=RoutingOptions(session=header(options, SESSION_HEADER)),
            retry=self._routing.retry(options.get_max_retries(self.max_retries)),
        )
        recorder = Recorder(plan, parser_of(options))
        response: Any = None
        last: Exception | None = None
        while (step := plan.next()) is not None:
            if step.wait_s > 0:
                await anyio.sleep(step.wait_s)
            tried, response = try_options(options, step, recorder), None
            try:
                with sending(plan):
                    response = await super().request(
                        cast_to, tried, stream=stream, stream_cls=stream_cls
                    )
                if isinstance(response, AsyncRoutedStream):
                    await response.peek()
                    plan.began()
            except BaseException as error:
                if isinstance(response, AsyncRoutedStream):
                    await response.response.aclose()
                failure = None if plan.answering or plan.over else failure_of(error)
                if failure is None or not isinstance(error, Exception):
                    plan.cancelled()
                    raise
                plan.failed(failure)
                last = error
            else:
                return recorder.kept_on(response)
        raise final_error(plan, last, self._client.build_request("POST", self.base_url))

    def _should_stream_response_body(self, request: Any) -> bool:
        # the body is read in _process_response, where it is clear that an answer has begun
        return current_plan() is not None or super()._should_stream_response_body(request)

    async def _process_response(self, *, response: Any, stream: bool, **rest: Any) -> Any:
        plan = current_plan()
        if plan is not None:
            if not stream and not reads_late(response):
                try:
                    await response.aread()
                except Exception as error:
                    raise broken_body(plan, response, error) from error
                answered(plan, response.content)
            elif is_raw(response):
                plan.began(followed=False)  # the caller reads it, and may do so in any way
        return await super()._process_response(response=response, stream=stream, **rest)

    def _key(self, options: Any) -> str | None:
        given = header(options, "authorization")
        if given is not None:
            return given
        provider = self._api_key_provider
        return environment_key() if provider is environment_key_async else self.api_key or None

    async def _refresh_models(self, key: str | None, options: Any) -> None:
        live = self.dispatcher.live
        if not self._routing.live_models or not live.claim(key):
            return
        try:
            payload = await self.get(
                "/models",
                cast_to=object,
                options=list_options(options),
            )
        except Exception:  # whatever it is, the request itself may still work
            live.failed(key)
        else:
            live.update(key, payload)
