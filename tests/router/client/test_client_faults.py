"""What the clients make of each way in which a server fails."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import openai
import pytest

import fault_server as faults
from router.client import BrokenAnswerError, RoutedCallError
from router.dispatch import Dispatcher, RetryPolicy
from router.errors import UpstreamError

SMALL, CODER, LARGE = "llama-3.2-3b", "qwen3-coder-30b", "llama-3.3-70b"
STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
Ask = Callable[..., Any]


def models(server: Any) -> list[str]:
    return [request.model for request in server.chats]


def outcomes(reply: Any) -> list[tuple[str, str]]:
    return [(a.model, a.outcome) for a in reply.decision.attempts]


@STREAM
def test_no_fault(ask: Ask, fault_server: Any, stream: bool):
    reply = ask(stream=stream)
    assert reply.text == f"{SMALL}: Hello"
    assert outcomes(reply) == [(SMALL, "answered")]
    assert reply.decision.usage is not None


@STREAM
@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(ask: Ask, fault_server: Any, status: int, stream: bool):
    fault_server.script(faults.status(status), faults.status(status))
    reply = ask(stream=stream)
    assert reply.text == f"{SMALL}: Hello"
    assert [a.status for a in reply.decision.attempts] == [status, status, None]
    assert all(a.wait_s > 0 for a in reply.decision.attempts[1:])


@STREAM
def test_then_the_next_candidate(ask: Ask, fault_server: Any, stream: bool):
    fault_server.always(faults.status(503), model=SMALL)
    reply = ask(stream=stream)
    assert reply.text == f"{CODER}: Hello"
    assert models(fault_server) == [SMALL] * 3 + [CODER]
    assert reply.decision.fallback == f"{SMALL}: unavailable (status 503)"


@STREAM
def test_then_openais_own_error(ask: Ask, fault_server: Any, stream: bool):
    fault_server.always(faults.status(503, headers={"x-request-id": "r-9"}))
    reply = ask(stream=stream)
    assert isinstance(reply.error, openai.InternalServerError)
    assert models(fault_server) == [SMALL] * 3 + [CODER] * 3 + [LARGE] * 3
    assert reply.decision.attempts[-1].request_id == "r-9"
    assert "WattRoute tried llama-3.2-3b: unavailable 503" in reply.error.__notes__[0]


@STREAM
def test_401_stops_at_once(ask: Ask, fault_server: Any, stream: bool):
    fault_server.always(faults.status(401, {"error": {"message": "bad key sk-abcdef99"}}))
    reply = ask(stream=stream)
    assert isinstance(reply.error, openai.AuthenticationError)
    assert models(fault_server) == [SMALL]
    assert "abcdef99" not in str(reply.decision.to_dict())


@STREAM
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (402, openai.APIStatusError),
        (413, openai.APIStatusError),
        (422, openai.UnprocessableEntityError),
    ],
)
def test_what_the_caller_must_mend_stops(
    ask: Ask, fault_server: Any, status: int, error: Any, stream: bool
):
    fault_server.always(faults.status(status))
    assert isinstance(ask(stream=stream).error, error)
    assert models(fault_server) == [SMALL]


@STREAM
def test_403_removes_the_model_for_the_key(ask: Ask, fault_server: Any, rules: Any, stream: bool):
    denied = {"error": "model_access_denied", "message": "Upgrade", "required_plan": "premium"}
    fault_server.always(faults.status(403, denied), model=SMALL)
    shared = {"dispatcher": Dispatcher(rules), "router": None, "retry": None}
    first = ask(shared, stream=stream)
    assert first.text == f"{CODER}: Hello"
    assert outcomes(first) == [(SMALL, "forbidden"), (CODER, "answered")]
    second = ask(shared, stream=stream)
    assert outcomes(second) == [(CODER, "answered")]
    assert [e.model for e in second.decision.excluded] == [SMALL]
    other_key = ask({**shared, "api_key": "sk-other"}, stream=stream)
    assert outcomes(other_key)[0] == (SMALL, "forbidden")


def test_403_everywhere(ask: Ask, fault_server: Any):
    fault_server.always(faults.status(403, {"error": "model_access_denied"}))
    reply = ask()
    assert isinstance(reply.error, openai.PermissionDeniedError)
    assert models(fault_server) == [SMALL, CODER, LARGE]


@STREAM
def test_404_goes_on(ask: Ask, fault_server: Any, stream: bool):
    fault_server.always(faults.status(404), model=SMALL)
    assert ask(stream=stream).text == f"{CODER}: Hello"
    assert models(fault_server) == [SMALL, CODER]


@STREAM
def test_429_waits_as_asked(ask: Ask, fault_server: Any, stream: bool):
    fault_server.script(faults.status(429, headers={"retry-after": "0.2"}))
    reply = ask(stream=stream)
    assert reply.text == f"{SMALL}: Hello"
    assert reply.decision.attempts[1].wait_s >= 0.2
    first, second = fault_server.chats
    assert second.time - first.time >= 0.2


def test_429_storm(ask: Ask, fault_server: Any):
    fault_server.always(faults.status(429, {"error": "rate_limit_exceeded", "message": "slow"}))
    reply = ask()
    assert isinstance(reply.error, openai.RateLimitError)
    assert models(fault_server) == [SMALL] * 3 + [CODER, LARGE]


@pytest.mark.parametrize("status", [403, 429])
def test_a_daily_limit_rests_the_key(ask: Ask, fault_server: Any, rules: Any, status: int):
    spent = {"error": "rate_limit_exceeded", "message": "60 a day", "daily_limit": 60}
    fault_server.always(faults.status(status, spent))
    shared = {"dispatcher": Dispatcher(rules), "router": None, "retry": None}
    assert isinstance(ask(shared).error, openai.APIStatusError)
    again = ask(shared)
    assert isinstance(again.error, RoutedCallError)
    assert isinstance(again.error, openai.APIError)
    assert again.error.failure.daily_limit == 60
    assert len(fault_server.chats) == 1


@STREAM
@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_connection_that_breaks_before_an_answer(
    ask: Ask, fault_server: Any, how: str, stream: bool
):
    fault_server.script(getattr(faults, how)())
    reply = ask(stream=stream)
    assert reply.text == f"{SMALL}: Hello"
    assert outcomes(reply) == [(SMALL, "connection"), (SMALL, "answered")]


@STREAM
def test_a_time_out_before_an_answer(ask: Ask, fault_server: Any, stream: bool):
    fault_server.always(faults.hang(), model=SMALL)
    reply = ask({"timeout": 0.2, "max_retries": 1}, stream=stream)
    assert reply.text == f"{CODER}: Hello"
    assert outcomes(reply)[:2] == [(SMALL, "timeout")] * 2


@STREAM
def test_a_dead_server(ask: Ask, stream: bool):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    reply = ask({"base_url": f"http://127.0.0.1:{port}/v1"}, stream=stream)
    assert isinstance(reply.error, openai.APIConnectionError)
    assert {outcome for _, outcome in outcomes(reply)} == {"connection"}


@pytest.mark.parametrize("how", ["close", "reset", "hang"])
def test_an_answer_that_breaks_off_is_not_repeated(ask: Ask, fault_server: Any, how: str):
    fault_server.always(faults.truncated(how))
    reply = ask({"timeout": 0.3})
    assert isinstance(reply.error, BrokenAnswerError)
    assert isinstance(reply.error, UpstreamError)
    assert isinstance(reply.error, openai.APIConnectionError)
    assert reply.error.retryable
    assert models(fault_server) == [SMALL], "its answer had begun"
    assert outcomes(reply) == [(SMALL, "broken")]


def test_a_slow_body_is_waited_for(ask: Ask, fault_server: Any):
    fault_server.script(faults.slow_body(0.05))
    assert ask().text == f"{SMALL}: Hello"
    fault_server.script(faults.slow_body(1.0))
    assert isinstance(ask({"timeout": 0.2}).error, BrokenAnswerError)
    assert len(fault_server.chats) == 2


@pytest.mark.parametrize(
    "content",
    [b"<html>oops</html>", b"", b"{", b"null", b"[]", b"{}", b'{"choices": []}', b"\xff\xfe"],
)
def test_what_is_no_answer_is_asked_again(ask: Ask, fault_server: Any, content: bytes):
    fault_server.script(faults.status(200, content))
    reply = ask()
    assert reply.text == f"{SMALL}: Hello"
    assert outcomes(reply)[0] == (SMALL, "invalid_response")


def test_no_answer_anywhere(ask: Ask, fault_server: Any):
    fault_server.always(faults.status(200, b"<html>oops</html>"))
    reply = ask()
    assert isinstance(reply.error, RoutedCallError)
    assert "no JSON: '<html>oops</html>'" in str(reply.error)
    assert len(fault_server.chats) == 9


@STREAM
def test_an_error_with_status_200(ask: Ask, fault_server: Any, stream: bool):
    if stream:
        fault_server.script(faults.stream(after=0, how="error"))
    else:
        fault_server.script(faults.status(200, {"error": {"message": "busy", "code": 503}}))
    reply = ask(stream=stream)
    assert reply.text == f"{SMALL}: Hello"
    assert outcomes(reply)[0] == (SMALL, "unavailable")


@pytest.mark.parametrize("how", ["end", "close", "reset", "garbage"])
def test_a_stream_without_a_first_chunk_goes_elsewhere(ask: Ask, fault_server: Any, how: str):
    fault_server.always(faults.stream(after=0, how=how), model=SMALL)
    reply = ask(stream=True)
    assert reply.text == f"{CODER}: Hello"
    assert models(fault_server) == [SMALL] * 3 + [CODER]


def test_a_stream_that_hangs_before_its_first_chunk(ask: Ask, fault_server: Any):
    fault_server.always(faults.stream(after=0, how="hang"), model=SMALL)
    reply = ask({"timeout": 0.2, "max_retries": 0}, stream=True)
    assert reply.text == f"{CODER}: Hello"
    assert outcomes(reply)[0] == (SMALL, "timeout")


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "until close"])
@pytest.mark.parametrize("how", ["end", "close", "reset", "error", "garbage", "hang"])
def test_a_stream_that_breaks_off_is_an_error(ask: Ask, fault_server: Any, how: str, chunked: bool):
    fault_server.always(faults.stream(["a", "b", "c"], after=2, how=how, chunked=chunked))
    reply = ask({"timeout": 0.3}, stream=True)
    assert reply.text == "ab"
    assert isinstance(reply.error, BrokenAnswerError)
    assert reply.error.retryable
    assert models(fault_server) == [SMALL], "its answer had begun"
    assert outcomes(reply) == [(SMALL, "broken")]
    assert reply.decision.usage is None


@pytest.mark.parametrize(
    ("finish", "done"), [(True, True), (True, False), (False, True), (False, False)]
)
@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "until close"])
def test_the_end_of_a_stream(ask: Ask, fault_server: Any, finish: bool, done: bool, chunked: bool):
    fault_server.script(faults.stream(finish=finish, done=done, chunked=chunked))
    reply = ask(stream=True)
    assert reply.text == f"{SMALL}: Hello"
    assert (reply.error is None) == (finish or done)


def test_each_of_several_answers_must_end(ask: Ask, fault_server: Any):
    fault_server.script(faults.stream(done=False))
    assert ask(stream=True, n=2).error is None
    fault_server.script(faults.stream(["a", "b"], after=1, done=False))
    assert isinstance(ask(stream=True, n=2).error, BrokenAnswerError)


def test_an_error_whose_body_breaks_off(ask: Ask, fault_server: Any):
    head = b"HTTP/1.1 503 Busy\r\ncontent-length: 100\r\n\r\nhalf of"
    fault_server.script(faults.raw(head), faults.raw(b"nonsense\r\n\r\n"))
    reply = ask()
    assert reply.text == f"{SMALL}: Hello"
    assert {outcome for _, outcome in outcomes(reply)[:2]} == {"connection"}


def test_retries_do_not_multiply(ask: Ask, fault_server: Any):
    fault_server.always(faults.status(503))
    ask({"max_retries": 0})
    assert models(fault_server) == [SMALL, CODER, LARGE]
    fault_server.requests.clear()
    ask({"max_retries": 4, "retry": RetryPolicy(base_s=0.0, max_candidates=1)})
    assert models(fault_server) == [SMALL] * 5 + [LARGE] * 5, "the reference model is the default"


def test_other_models_keep_openais_retries(ask: Ask, fault_server: Any):
    fault_server.script(faults.status(503, headers={"retry-after-ms": "1"}))
    reply = ask(model=LARGE)
    assert (reply.text, reply.decision) == (f"{LARGE}: Hello", None)
    assert models(fault_server) == [LARGE, LARGE]
    assert [r.headers["x-stainless-retry-count"] for r in fault_server.chats] == ["0", "1"]


def test_a_router_that_fails_leaves_the_default(ask: Ask, fault_server: Any, tmp_path: Any):
    reply = ask({"router": tmp_path / "missing", "default_model": CODER})
    assert reply.text == f"{CODER}: Hello"
    assert "cannot be loaded: ArtifactError" in reply.decision.fallback


def test_the_circuit_breaker_spares_a_dead_model(ask: Ask, fault_server: Any, rules: Any):
    fault_server.always(faults.close(), model=SMALL)
    policy = RetryPolicy(base_s=0.0, tries_per_model=3)
    shared = {"dispatcher": Dispatcher(rules, retry=policy), "router": None, "retry": None}
    for _ in range(4):
        assert ask(shared).text == f"{CODER}: Hello"
    assert models(fault_server).count(SMALL) == 5
    assert outcomes(ask(shared))[0] == (SMALL, "skipped")
