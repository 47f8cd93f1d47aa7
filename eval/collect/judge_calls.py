"""Asking a judge from graders, which do not know of event loops."""

from __future__ import annotations

import asyncio
import threading
from random import Random
from types import TracebackType
from typing import Any

from router.dispatch.failure import Failure
from router.dispatch.retry import RetryPolicy
from router.errors import UpstreamError
from router.eval.collect.chat import ChatClient
from router.eval.collect.collector import COLLECT_RETRIES
from router.eval.collect.limits import DayLimitError, RateLimiter
from router.eval.collect.settings import AskSettings

__all__ = ["JudgeCalls"]


class JudgeCalls:
    """A callable that asks a model, for use from any thread, as a context manager.

    Parameters
    ----------
    client : ChatClient
        Sends requests; of this object alone.
    settings : AskSettings
        How the judge is asked.
    limiter : RateLimiter
        Of its API key.
    retry : RetryPolicy
        How often and after what wait a request is tried again.

    Attributes
    ----------
    n_asked : int
        Requests sent.
    """

    def __init__(
        self,
        client: ChatClient,
        settings: AskSettings,
        limiter: RateLimiter,
        retry: RetryPolicy = COLLECT_RETRIES,
    ) -> None:
        self.n_asked: int = 0
        self._client = client
        self._settings = settings
        self._limiter = limiter
        self._retry = retry
        self._rng = Random(0)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._turns = asyncio.Semaphore(settings.concurrency)

    def __enter__(self) -> JudgeCalls:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._client.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __call__(self, messages: list[dict[str, Any]]) -> str:
        """Return the judge's answer.

        Raises
        ------
        UpstreamError
            If there is none after all tries.
        """
        return asyncio.run_coroutine_threadsafe(self._ask(messages), self._loop).result()

    async def _ask(self, messages: list[dict[str, Any]]) -> str:
        async with self._turns:
            for tries in range(1, self._retry.tries_per_model + 1):
                try:
                    await self._limiter.take()
                except DayLimitError as error:
                    raise UpstreamError("the requests of the day are used up") from error
                self.n_asked += 1
                found = await self._client.ask(self._settings, messages)
                if not isinstance(found, Failure):
                    return found.text
                wait_s = found.retry_after_s
                too_long = wait_s is not None and wait_s > self._retry.max_retry_after_s
                if not found.retryable or too_long or tries == self._retry.tries_per_model:
                    raise found.upstream_error()
                await asyncio.sleep(
                    self._retry.backoff_s(tries, self._rng) if wait_s is None else wait_s
                )
        raise AssertionError("a policy allows at least one try")
