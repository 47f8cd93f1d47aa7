"""Streams that know their decision, and raise where an answer breaks off."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, TypeVar

import openai
from openai import AsyncStream, Stream

from router.client.errors import BrokenAnswerError
from router.dispatch import Dispatched, Failure, Plan, StreamWatch, Usage, failure_from_event

__all__ = ["AsyncRoutedStream", "RoutedStream"]

_T = TypeVar("_T")


class _Followed:
    """What the two streams share: the call that they belong to, and what has been seen."""

    response: Any
    _plan: Plan | None = None
    _watch: StreamWatch | None = None
    _n_chunks: int = 0

    @property
    def decision(self) -> Dispatched | None:
        """The record of the call as of now: the energy used is known after the last chunk.

        None where the model was named and nothing routed.
        """
        return None if self._plan is None else self._plan.record()

    def follow(self, plan: Plan) -> None:
        """Belong to a call from now on."""
        self._plan = plan
        self._watch = StreamWatch(plan.profile.n)

    def _see(self, event: Any) -> None:
        if self._watch is not None:
            self._watch.data(event.data)

    def _whole(self) -> bool:
        return self._watch is not None and self._watch.complete and self._n_chunks > 0

    def _broken(self, message: str) -> BrokenAnswerError:
        failure = Failure.broken(message)
        if self._plan is not None and self._plan.answering:
            self._plan.broke(failure)
        return BrokenAnswerError(failure, self.response.request, self.decision)

    def _failed(self, error: Exception) -> Exception:
        """Return the error to raise for one that came while reading."""
        if self._plan is None or not self._plan.answering:
            return error
        if isinstance(error, openai.APIError) and not isinstance(error, openai.APIConnectionError):
            return self._broken(f"the server broke off: {failure_from_event(error.body).message}")
        return self._broken(f"the stream broke off: {error or type(error).__name__}")

    def _ended(self) -> None:
        """Check that the answer is whole, at the end of the body."""
        plan, watch = self._plan, self._watch
        if plan is None or watch is None or plan.over:
            return
        if self._n_chunks == 0:
            kind = self.response.headers.get("content-type", "no content type")
            raise self._broken(f"the answer has no chunk of a stream ({kind})")
        if not watch.complete:
            raise self._broken("the stream ended without a finish reason or [DONE]")
        usage = watch.usage
        if usage is None:
            tokens = plan.profile.prompt_tokens
            if plan.decision is not None:
                tokens = round(plan.decision.prompt_tokens)
            usage = Usage(tokens, watch.deltas, estimated=True)
        plan.finished(usage, watch.finish_reason)

    def _left(self) -> None:
        """Note that nobody reads on, be it that the answer is whole but for its last event."""
        if self._whole():
            self._ended()
        elif self._plan is not None:
            self._plan.cancelled()


class RoutedStream(Stream[_T], _Followed):
    """A stream of chat completion chunks with the decision that led to it.

    Raises `BrokenAnswerError` where the connection breaks, the server sends an error, or the
    body ends before the answer does.
    """

    def __stream__(self) -> Iterator[_T]:
        chunks: Any = super().__stream__()
        try:
            for chunk in chunks:
                self._n_chunks += 1
                yield chunk
        except Exception as error:
            if not self._whole():
                raise self._failed(error) from error
        except BaseException:
            self._left()
            raise
        finally:
            chunks.close()
        self._ended()

    def _iter_events(self) -> Iterator[Any]:
        for event in super()._iter_events():
            self._see(event)
            yield event

    def peek(self) -> None:
        """Read the first chunk ahead: what fails before it can still go elsewhere."""
        rest = self._iterator
        first = next(rest)

        def whole() -> Iterator[_T]:
            yield first
            yield from rest

        self._iterator = whole()

    def close(self) -> None:
        """Close the response and release the connection."""
        super().close()
        self._left()


class AsyncRoutedStream(AsyncStream[_T], _Followed):
    """The same as `RoutedStream`, asynchronous."""

    async def __stream__(self) -> AsyncIterator[_T]:
        chunks: Any = super().__stream__()
        try:
            async for chunk in chunks:
                self._n_chunks += 1
                yield chunk
        except Exception as error:
            if not self._whole():
                raise self._failed(error) from error
        except BaseException:
            self._left()
            raise
        finally:
            await chunks.aclose()
        self._ended()

    async def _iter_events(self) -> AsyncIterator[Any]:
        async for event in super()._iter_events():
            self._see(event)
            yield event

    async def peek(self) -> None:
        """Read the first chunk ahead: what fails before it can still go elsewhere."""
        rest = self._iterator
        first = await rest.__anext__()

        async def whole() -> AsyncIterator[_T]:
            yield first
            async for chunk in rest:
                yield chunk

        self._iterator = whole()

    async def close(self) -> None:
        """Close the response and release the connection."""
        await super().close()
        self._left()
