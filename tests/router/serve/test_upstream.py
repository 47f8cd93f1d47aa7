"""The pool of connections: reuse, stale connections, time limits, answers that break off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

import fault_server as faults
from router.errors import ConfigError
from router.serve.upstream import (
    _HIGH_WATER,
    Timeouts,
    Upstream,
    UpstreamConnectionError,
    UpstreamFailure,
    UpstreamTimeoutError,
)

T = TypeVar("T")
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}).encode()
HEADERS = [(b"content-type", b"application/json")]


def run(url: str, use: Callable[[Upstream], Coroutine[Any, Any, T]], **timeouts: float) -> T:
    """Use a pool in an event loop of its own, and close it."""

    async def main() -> T:
        upstream = Upstream(url, Timeouts(**{"connect_s": 2.0, "first_byte_s": 2.0, **timeouts}))
        try:
            return await use(upstream)
        finally:
            upstream.close()
            await asyncio.sleep(0)

    return asyncio.run(main())


async def ask(upstream: Upstream) -> tuple[int, bytes]:
    response = await upstream.request(b"POST", b"/chat/completions", HEADERS, BODY)
    body = await response.read(10**6)
    response.close()
    return response.status, body


def test_one_connection_serves_one_call_after_the_other(fault_server: Any):
    async def use(upstream: Upstream) -> tuple[list[tuple[int, bytes]], int]:
        return [await ask(upstream) for _ in range(5)], upstream.n_connections

    answers, n_connections = run(fault_server.url, use)
    assert n_connections == 1
    for status, body in answers:
        assert status == 200
        assert json.loads(body)["choices"][0]["message"]["content"] == "m: Hi"


def test_calls_at_the_same_time_get_a_connection_each(fault_server: Any):
    async def use(upstream: Upstream) -> int:
        await asyncio.gather(*(ask(upstream) for _ in range(6)))
        return upstream.n_connections

    assert 1 <= run(fault_server.url, use) <= 6


def test_path_query_host_and_length_are_sent(fault_server: Any):
    async def use(upstream: Upstream) -> None:
        response = await upstream.request(b"POST", b"/a/b?c=d", [(b"x-a", b"1")], b"")
        await response.read(10**6)
        response.close()

    run(fault_server.url, use)
    (request,) = fault_server.requests
    assert request.path == "/v1/a/b?c=d"
    assert request.headers["x-a"] == "1"
    assert request.headers["content-length"] == "0"
    assert request.headers["host"] == fault_server.url.split("/")[2]


def test_a_connection_closed_meanwhile_is_replaced(fault_server: Any):
    """The server answers, closes, and the next request goes to a new connection."""

    async def use(upstream: Upstream) -> list[int]:
        first = await ask(upstream)
        port = int(fault_server.url.rsplit(":", 1)[1].split("/")[0])
        fault_server.stop()
        fault_server.start(port)
        return [first[0], (await ask(upstream))[0]]

    assert run(fault_server.url, use) == [200, 200]


def test_a_kept_connection_that_breaks_at_once_is_tried_once_more(fault_server: Any):
    async def use(upstream: Upstream) -> tuple[int, bytes]:
        await ask(upstream)
        fault_server.script(faults.close())
        return await ask(upstream)

    assert run(fault_server.url, use)[0] == 200
    assert len(fault_server.chats) == 3


@pytest.mark.parametrize(("method", "n_sent"), [(b"POST", 1), (b"DELETE", 1), (b"GET", 2)])
def test_what_a_server_may_have_worked_on_is_not_sent_twice(
    fault_server: Any, method: bytes, n_sent: int
):
    """It took the request on a kept connection, and died a while later."""

    def work(connection: Any, request: Any) -> None:
        connection.wait(0.3)
        connection.drop()

    async def use(upstream: Upstream) -> None:
        await ask(upstream)
        fault_server.script(work, faults.status(200))
        body = BODY if method == b"POST" else b""
        response = await upstream.request(method, b"/chat/completions", HEADERS, body)
        await response.read(10**6)
        response.close()

    if n_sent == 1:
        with pytest.raises(UpstreamConnectionError):
            run(fault_server.url, use)
    else:
        run(fault_server.url, use)
    assert [request.method for request in fault_server.requests[1:]] == [method.decode()] * n_sent


def test_a_new_connection_that_breaks_is_an_error(fault_server: Any):
    fault_server.always(faults.close())
    with pytest.raises(UpstreamConnectionError):
        run(fault_server.url, ask)
    assert len(fault_server.chats) == 1


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_body_that_breaks_off_is_an_error(fault_server: Any, how: str):
    fault_server.always(faults.truncated(how))
    with pytest.raises(UpstreamConnectionError):
        run(fault_server.url, ask)


def test_no_answer_in_time(fault_server: Any):
    fault_server.always(faults.hang(5))
    with pytest.raises(UpstreamTimeoutError, match="no answer"):
        run(fault_server.url, ask, first_byte_s=0.1)


def test_a_body_that_stands_still(fault_server: Any):
    fault_server.always(faults.truncated("hang"))
    with pytest.raises(UpstreamTimeoutError, match="nothing more"):
        run(fault_server.url, ask, idle_s=0.1)


def test_a_slow_body_is_no_error(fault_server: Any):
    fault_server.always(faults.slow_body(0.05, 5))
    assert run(fault_server.url, ask, idle_s=1.0)[0] == 200


def test_nobody_listens(fault_server: Any):
    fault_server.stop()
    with pytest.raises(UpstreamConnectionError, match="no connection"):
        run(fault_server.url, ask)


def test_an_answer_that_is_not_http(fault_server: Any):
    fault_server.always(faults.raw(b"SSH-2.0-OpenSSH_9.6\r\n"))
    with pytest.raises(UpstreamConnectionError, match="not HTTP"):
        run(fault_server.url, ask)


def test_an_answer_that_is_too_long(fault_server: Any):
    async def use(upstream: Upstream) -> None:
        response = await upstream.request(b"POST", b"/chat/completions", HEADERS, BODY)
        await response.read(10)

    # a whole body that came at once has been taken already
    fault_server.models = [f"model-{i}" for i in range(20_000)]

    async def many(upstream: Upstream) -> None:
        response = await upstream.request(b"GET", b"/models", [])
        await response.read(1_000)

    with pytest.raises(UpstreamFailure, match="longer than"):
        run(fault_server.url, many)


def test_a_broken_body_is_never_taken_for_its_end(fault_server: Any):
    """The pieces before the break come out, then the error, however late they are read."""
    fault_server.always(faults.stream(["a", "b", "c"], after=2, how="reset"))

    async def use(upstream: Upstream) -> bytes:
        response = await upstream.request(b"POST", b"/chat/completions", HEADERS, BODY)
        await asyncio.sleep(0.2)
        read = b""
        while piece := await response.next_piece():
            read += piece
        return read

    with pytest.raises(UpstreamConnectionError):
        run(fault_server.url, use)


def test_a_response_that_was_read_has_no_hold_on_the_next(fault_server: Any):
    """Its connection carries another response by then, which closing it must not touch."""

    async def use(upstream: Upstream) -> bytes:
        first = await upstream.request(b"POST", b"/chat/completions", HEADERS, BODY)
        await first.read(10**6)
        second = await upstream.request(b"POST", b"/chat/completions", HEADERS, BODY)
        assert upstream.n_connections == 1
        first.close()
        assert await first.next_piece() == b""
        assert first.ended
        return await second.read(10**6)

    assert json.loads(run(fault_server.url, use))["model"] == "m"


def test_an_abandoned_answer_closes_its_connection(fault_server: Any):
    fault_server.always(faults.stream(["a"] * 50, delay_s=0.01))

    async def use(upstream: Upstream) -> int:
        response = await upstream.request(b"POST", b"/chat/completions", HEADERS, BODY)
        await response.next_piece()
        response.close()
        await asyncio.sleep(0.05)
        return upstream.n_connections

    assert run(fault_server.url, use) == 0


def test_a_connection_that_reads_no_more_is_not_kept(fault_server: Any):
    """The last byte of an answer was one too many to hold, and then the client went away."""
    rest = b"x" * (_HIGH_WATER + 1)

    def long(connection: Any, request: Any) -> None:
        connection.head(200, {"content-length": f"{1 + len(rest)}"})
        connection.send(b"x")
        connection.wait(0.1)
        connection.send(rest)

    fault_server.script(long)

    async def use(upstream: Upstream) -> tuple[int, bytes]:
        response = await upstream.request(b"POST", b"/chat/completions", HEADERS, BODY)
        await response.next_piece()
        await asyncio.sleep(0.2)
        response.close()
        return await ask(upstream)

    assert run(fault_server.url, use, first_byte_s=1.0)[0] == 200


@pytest.mark.parametrize(
    "url",
    [
        "api.oxlo.ai/v1",
        "ftp://api.oxlo.ai",
        "http://",
        "http://[::1",
        "http://a..b/v1",
        f"http://{'a' * 64}/v1",
        "http://host:99999/v1",
        "https://user:secret@host/v1",
        "https://host/v1?key=secret",
        "https://host/v1#x",
        "https://ho st/v1",
        "https://hößt/v1",
        "http://host/v1\r\nx-evil: 1",
        "",
    ],
)
def test_what_is_no_base_url_is_refused_without_showing_secrets(url: str):
    with pytest.raises(ConfigError) as caught:
        Upstream(url)
    assert "secret" not in str(caught.value)
