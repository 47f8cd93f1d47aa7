"""An OpenAI-compatible server on loopback that fails on command, over raw sockets.

Replies are queued with `FaultServer.script`; without a script every chat request is answered
with the text ``"<model>: <last user text>"``, so that mixed-up answers show.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

__all__ = [
    "FaultServer",
    "Recorded",
    "answer",
    "close",
    "hang",
    "raw",
    "reset",
    "slow_body",
    "status",
    "stream",
    "truncated",
]


@dataclass(frozen=True)
class Recorded:
    """One request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    content: bytes
    time: float

    @property
    def body(self) -> Any:
        is_file = self.headers.get("content-type", "").startswith("multipart/")
        return None if is_file or not self.content else json.loads(self.content)

    @property
    def route(self) -> str:
        return self.path.partition("?")[0]

    @property
    def model(self) -> str | None:
        body = self.body
        return body.get("model") if isinstance(body, dict) else None


class Connection:
    """A connection to write a reply to."""

    def __init__(self, connected: socket.socket, stopping: threading.Event) -> None:
        self._socket = connected
        self._stopping = stopping
        self.keep = True

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def head(self, code: int, headers: Mapping[str, str]) -> None:
        lines = [f"HTTP/1.1 {code} Reply", *(f"{k}: {v}" for k, v in headers.items())]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode())

    def json(self, code: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.head(
            code,
            {
                "content-type": "application/json",
                "content-length": str(len(data)),
                **(headers or {}),
            },
        )
        self.send(data)

    def chunk(self, data: bytes) -> None:
        self.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def wait(self, seconds: float) -> None:
        self._stopping.wait(seconds)

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.drop()

    def drop(self) -> None:
        self.keep = False
        self._socket.close()


Reply: TypeAlias = Callable[[Connection, Recorded], None]


def completion(request: Recorded, text: str | None = None, **fields: Any) -> dict[str, Any]:
    """Return a chat completion for a request."""
    body = request.body
    if text is None:
        text = f"{body['model']}: {last_text(body)}"
    choices = [
        {
            "index": i,
            "message": {"role": "assistant", "content": text},
            "finish_reason": "stop",
            "logprobs": None,
        }
        for i in range(int(body.get("n") or 1))
    ]
    return {
        "id": f"chatcmpl-{time.monotonic_ns()}",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": body["model"],
        "choices": choices,
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
        **fields,
    }


def last_text(body: Mapping[str, Any]) -> str:
    content = body["messages"][-1].get("content")
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content or [])


def answer(text: str | None = None, **fields: Any) -> Reply:
    """Answer with a whole completion; a request with ``stream`` gets a whole stream."""

    def reply(connection: Connection, request: Recorded) -> None:
        if request.body.get("stream"):
            stream(None if text is None else [text])(connection, request)
        else:
            connection.json(200, completion(request, text, **fields))

    return reply


def status(code: int, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
    """Answer with an HTTP status; a body of bytes is sent as it is."""

    def reply(connection: Connection, request: Recorded) -> None:
        content = {"error": {"message": f"status {code}", "type": "scripted", "code": None}}
        connection.json(code, content if body is None else body, headers)

    return reply


def raw(data: bytes) -> Reply:
    """Send bytes and close."""

    def reply(connection: Connection, request: Recorded) -> None:
        connection.send(data)
        connection.drop()

    return reply


def close() -> Reply:
    """Close without a word."""
    return lambda connection, request: connection.drop()


def reset() -> Reply:
    """Reset the connection without a word."""
    return lambda connection, request: connection.reset()


def hang(seconds: float = 30.0) -> Reply:
    """Say nothing for a while, then close."""

    def reply(connection: Connection, request: Recorded) -> None:
        connection.wait(seconds)
        connection.drop()

    return reply


def slow_body(delay_s: float, pieces: int = 4) -> Reply:
    """Send the head of a completion at once and its body in pieces with a wait before each."""

    def reply(connection: Connection, request: Recorded) -> None:
        data = json.dumps(completion(request)).encode()
        connection.head(200, {"content-type": "application/json", "content-length": str(len(data))})
        size = -(-len(data) // pieces)
        for start in range(0, len(data), size):
            connection.wait(delay_s)
            connection.send(data[start : start + size])

    return reply


def truncated(how: str = "close") -> Reply:
    """Send half of a completion, then ``"close"``, ``"reset"`` or ``"hang"``."""

    def reply(connection: Connection, request: Recorded) -> None:
        data = json.dumps(completion(request)).encode()
        connection.head(200, {"content-type": "application/json", "content-length": str(len(data))})
        connection.send(data[: len(data) // 2])
        end(connection, how)

    return reply


def stream(
    pieces: Sequence[str] | None = None,
    *,
    finish: bool = True,
    done: bool = True,
    usage: bool = False,
    after: int | None = None,
    how: str = "end",
    delay_s: float = 0.0,
    chunked: bool = True,
) -> Reply:
    """Answer with server-sent events.

    `after` breaks off before the piece of that number: ``"end"`` ends the body as if it were
    whole, ``"close"``, ``"reset"`` and ``"hang"`` leave it open, ``"error"`` sends an error event,
    ``"garbage"`` an event that is no JSON. Without `chunked` the body ends with the connection.
    """

    def reply(connection: Connection, request: Recorded) -> None:
        body = request.body
        texts = [f"{body['model']}: ", last_text(body)] if pieces is None else pieces
        connection.head(
            200,
            {
                "content-type": "text/event-stream",
                **({"transfer-encoding": "chunked"} if chunked else {"connection": "close"}),
            },
        )
        write = connection.chunk if chunked else connection.send
        for number, piece in enumerate(texts):
            if number == after:
                break
            connection.wait(delay_s)
            for index in range(body.get("n") or 1):
                write(event(chunk(body, index, {"role": "assistant", "content": piece})))
        broken = after is not None
        if broken and how == "error":
            write(event({"error": {"message": "worker died", "type": "server_error", "code": 503}}))
        elif broken and how == "garbage":
            write(b"data: {not json\n\n")
        elif broken and how != "end":
            end(connection, how)
            return
        if finish and not broken:
            for index in range(body.get("n") or 1):
                write(event(chunk(body, index, {}, "stop")))
        if usage and not broken:
            counts = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
            write(event(chunk(body, None, {}, usage=counts)))
        if done and not broken:
            write(b"data: [DONE]\n\n")
        if chunked:
            connection.send(b"0\r\n\r\n")
        else:
            connection.drop()

    return reply


def chunk(
    body: Mapping[str, Any],
    index: int | None,
    delta: Mapping[str, Any],
    reason: str | None = None,
    **fields: Any,
) -> dict[str, Any]:
    choices = [] if index is None else [{"index": index, "delta": delta, "finish_reason": reason}]
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": body["model"],
        "choices": choices,
        **fields,
    }


def event(data: Any) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()


def end(connection: Connection, how: str) -> None:
    if how == "reset":
        connection.reset()
    elif how == "hang":
        connection.wait(30.0)
        connection.drop()
    else:
        connection.drop()


@dataclass
class FaultServer:
    """The server; `start` and `stop` it, or use it as a context manager.

    `models` are the ids that ``GET /v1/models`` lists; None answers it with 404.
    """

    models: Sequence[str] | None = None
    requests: list[Recorded] = field(default_factory=list)
    default: Reply = field(default_factory=answer)

    def __post_init__(self) -> None:
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._scripts: dict[str | None, deque[Reply]] = {}
        self._rules: dict[str | None, Reply] = {}
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def chats(self) -> list[Recorded]:
        """The chat requests in their order."""
        return [r for r in list(self.requests) if r.route.endswith("/chat/completions")]

    def script(self, *replies: Reply, model: str | None = None) -> None:
        """Queue replies to chat requests, for one model or for any."""
        with self._lock:
            self._scripts.setdefault(model, deque()).extend(replies)

    def always(self, reply: Reply, model: str | None = None) -> None:
        """Reply like this to every chat request that no script is left for."""
        with self._lock:
            self._rules[model] = reply

    def start(self, port: int = 0) -> FaultServer:
        self._stopping.clear()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=256)
        self.port = self._listener.getsockname()[1]
        thread = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        thread.start()
        self._threads.append(thread)
        return self

    def stop(self) -> None:
        """Refuse connections from now on and cut those that are open."""
        self._stopping.set()
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        with self._lock:
            connections = list(self._open)
        for connected in connections:
            with suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5.0)
        self._threads.clear()

    def __enter__(self) -> FaultServer:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connected, _ = listener.accept()
            except OSError:
                return
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open.add(connected)
            thread = threading.Thread(target=self._serve, args=(connected,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def _serve(self, connected: socket.socket) -> None:
        with suppress(OSError):
            for request in self._read(connected):
                connection = Connection(connected, self._stopping)
                self._reply(request)(connection, request)
                if not connection.keep:
                    break
        with self._lock:
            self._open.discard(connected)
        with suppress(OSError):
            connected.close()

    def _reply(self, request: Recorded) -> Reply:
        self.requests.append(request)
        if request.route.endswith("/models"):
            if self.models is None:
                return status(404)
            listed = {"object": "list", "data": [{"id": name} for name in self.models]}
            return lambda connection, request: connection.json(200, listed)
        if not request.route.endswith("/chat/completions"):
            echo = {"path": request.path, "echo": request.body}
            return lambda connection, request: connection.json(200, echo)
        with self._lock:
            for key in (request.model, None):
                if self._scripts.get(key):
                    return self._scripts[key].popleft()
            for key in (request.model, None):
                if key in self._rules:
                    return self._rules[key]
        return self.default

    def _read(self, connected: socket.socket) -> Iterator[Recorded]:
        buffer = b""
        while True:
            while b"\r\n\r\n" not in buffer:
                data = connected.recv(65536)
                if not data:
                    return
                buffer += data
            head, _, buffer = buffer.partition(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            method, path, _ = first.split(" ", 2)
            headers = {
                k.strip().lower(): v.strip() for k, _, v in (x.partition(":") for x in lines)
            }
            length = int(headers.get("content-length", 0))
            while len(buffer) < length:
                data = connected.recv(65536)
                if not data:
                    return
                buffer += data
            content, buffer = buffer[:length], buffer[length:]
            yield Recorded(method, path, headers, content, time.monotonic())
