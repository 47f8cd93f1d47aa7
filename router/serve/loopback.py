"""An upstream that answers at once, and a client that asks without delay, to measure a proxy.

``python -m router.serve.loopback`` runs the upstream: each answer repeats the last message, so
that answers that are lost or mixed up show. Both sides speak just enough HTTP for that and take
a few microseconds a call, so that what is measured is what lies between them.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Coroutine
from importlib import import_module
from typing import Any, cast

__all__ = ["LoadClient", "chat_request", "main", "run_quickly"]

_N_PIECES = 3


class _Answering(asyncio.Protocol):
    """One connection of the upstream."""

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            stop = end + 4 + _content_length(self._buffer[:end])
            if len(self._buffer) < stop:
                return
            body, self._buffer = self._buffer[end + 4 : stop], self._buffer[stop:]
            if self._transport is not None:
                self._transport.write(_answer(body))


def _content_length(head: bytes) -> int:
    start = head.lower().find(b"\r\ncontent-length:")
    return 0 if start < 0 else int(head[start + 17 :].split(b"\r\n", 1)[0])


def _answer(body: bytes) -> bytes:
    if not body:
        return _whole({"object": "list", "data": []})
    request = json.loads(body)
    content = request["messages"][-1]["content"]
    common = {"id": "chatcmpl-1", "created": 0, "model": request["model"]}
    usage = {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}
    if request.get("stream"):
        deltas = [{"content": content}] * _N_PIECES
        events = [
            {**common, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta}]}
            for delta in deltas
        ]
        end = {"index": 0, "delta": {}, "finish_reason": "stop"}
        events.append({**events[0], "choices": [end], "usage": usage})
        data = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
        data += b"data: [DONE]\n\n"
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
        return b"%stransfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (
            head,
            len(data),
            data,
        )
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return _whole({**common, "object": "chat.completion", "choices": [choice], "usage": usage})


def _whole(value: Any) -> bytes:
    data = json.dumps(value).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(data) + data


class LoadClient(asyncio.Protocol):
    """One connection of the client; one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._lost = False
        self._first: asyncio.Future[None] | None = None
        self._whole: asyncio.Future[bytes] | None = None

    @classmethod
    async def connect(cls, port: int) -> LoadClient:
        """Connect to a port of this machine."""
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(cls, "127.0.0.1", port)
        return client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Take a piece of the response."""
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or self._whole is None:
            return
        if b"\r\ntransfer-encoding: chunked" in self._buffer[:end].lower():
            if self._first is not None and not self._first.done() and b"data:" in self._buffer:
                self._first.set_result(None)
            if self._buffer.endswith(b"\r\n0\r\n\r\n"):
                self._finish(self._buffer)
        elif len(self._buffer) >= end + 4 + _content_length(self._buffer[:end]):
            self._finish(self._buffer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the request under way."""
        self._lost = True
        for future in (self._first, self._whole):
            if future is not None and not future.done():
                future.set_exception(_closed())

    async def ask(self, request: bytes) -> bytes:
        """Send a request and return the whole response with its head."""
        self._send(request)
        assert self._whole is not None
        return await self._whole

    async def first_event(self, request: bytes) -> None:
        """Send a request that streams, and return at the first event of its answer."""
        self._send(request)
        self._first = asyncio.get_running_loop().create_future()
        await self._first

    async def rest(self) -> bytes:
        """Return the whole response of which the first event has come."""
        assert self._whole is not None
        return await self._whole

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.abort()

    def _send(self, request: bytes) -> None:
        if self._lost:
            raise _closed()
        self._buffer = b""
        self._whole = asyncio.get_running_loop().create_future()
        assert self._transport is not None
        self._transport.write(request)

    def _finish(self, response: bytes) -> None:
        if self._whole is not None and not self._whole.done():
            self._whole.set_result(response)


def _closed() -> ConnectionError:
    return ConnectionError("the connection was closed")


def chat_request(content: str, model: str = "auto", *, stream: bool = False) -> bytes:
    """Return a chat request with its head.

    Parameters
    ----------
    content : str
        The user's message.
    model : str
        The model that it names.
    stream : bool
        Whether the answer is to be streamed.
    """
    messages = [
        {"role": "system", "content": "You are a helpful assistant. Be brief."},
        {"role": "user", "content": content},
    ]
    body = json.dumps({"model": model, "messages": messages, "stream": stream}).encode()
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer sk-x\r\n"
        b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    )


def run_quickly(task: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine, on uvloop where that is installed.

    Parameters
    ----------
    task : coroutine
        What to run.
    """
    try:
        import_module("uvloop").run(task)
    except ModuleNotFoundError:
        asyncio.run(task)


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Answering, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    """Serve on a free port, which is printed, until interrupted."""
    try:
        run_quickly(_serve())
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
