"""Upstreams that fail: the next candidate, the default, or an error, never half an answer."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest

import fault_server as faults
from router.monitor.feedback import read_feedback
from router.router import Router
from router.serve.upstream import Timeouts

STREAM = {"model": "auto", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}


def error_of(response: httpx.Response) -> dict[str, Any]:
    error = response.json()["error"]
    assert {"message", "type", "param", "code"} <= error.keys()
    return error


@pytest.fixture
def chosen(small_router: Router) -> str:
    return small_router.route("Hi").model


@pytest.mark.parametrize("code", [500, 502, 503, 504, 404, 403])
@pytest.mark.parametrize("stream", [False, True])
def test_the_next_candidate_answers(
    proxy: Any, fault_server: Any, chosen: str, code: int, stream: bool
):
    fault_server.always(faults.status(code), model=chosen)
    response = proxy.chat("Hi", stream=stream)
    assert response.status_code == 200
    other = response.headers["x-wattroute-model"]
    assert other != chosen
    assert other in response.text
    assert chosen in response.headers["x-wattroute-fallback"]
    assert int(response.headers["x-wattroute-attempts"]) == (2 if code < 500 else 3)
    line = proxy.log_lines(1)[0]
    assert (line["chosen"], line["model"]) == (chosen, other)
    assert proxy.metric('wattroute_fallbacks_total{reason="attempt"}') == 1


def test_a_busy_upstream_is_tried_again(proxy: Any, fault_server: Any, chosen: str):
    fault_server.script(faults.status(503))
    response = proxy.chat("Hi")
    assert response.status_code == 200
    assert response.headers["x-wattroute-model"] == chosen
    assert response.headers["x-wattroute-attempts"] == "2"


def test_retry_after_is_waited_for(proxy: Any, fault_server: Any):
    fault_server.script(faults.status(429, headers={"retry-after": "0.1"}))
    assert proxy.chat("Hi").status_code == 200
    first, second = fault_server.chats
    assert second.time - first.time >= 0.1


def test_a_bad_key_stops_at_once(proxy: Any, fault_server: Any):
    fault_server.always(faults.status(401))
    response = proxy.chat("Hi")
    assert response.status_code == 401
    assert error_of(response)["type"] == "authentication_error"
    assert len(fault_server.chats) == 1


def test_oxlos_own_errors_come_in_openais_shape(proxy: Any, fault_server: Any):
    body = {"error": "rate_limit_exceeded", "message": "Daily limit reached.", "daily_limit": 60}
    fault_server.always(faults.status(429, body))
    response = proxy.chat("Hi")
    assert response.status_code == 429
    error = error_of(response)
    assert error["code"] == "rate_limit_exceeded"
    assert error["message"] == "Daily limit reached."
    assert error["daily_limit"] == 60


def test_a_storm_of_429_ends_in_429(proxy: Any, fault_server: Any):
    fault_server.always(faults.status(429, headers={"retry-after": "0"}))
    response = proxy.chat("Hi")
    assert response.status_code == 429
    assert error_of(response)["type"] == "rate_limit_error"
    assert response.headers["x-wattroute-request-id"].startswith("wr-")
    line = proxy.log_lines(1)[0]
    assert (line["outcome"], line["status"]) == ("failed", 429)
    assert len(fault_server.chats) == line["attempts"] <= 10


@pytest.mark.parametrize("body", [b"not json", b"[]", b'"text"', b"{}", b'{"choices": 5}', b""])
def test_an_answer_that_is_none_is_not_passed_on(
    proxy: Any, fault_server: Any, chosen: str, body: bytes
):
    fault_server.always(faults.status(200, body), model=chosen)
    response = proxy.chat("Hi")
    assert response.status_code == 200
    assert response.headers["x-wattroute-model"] != chosen


def error_in_a_200(error: Any, *, stream: bool) -> Any:
    def reply(connection: Any, request: Any) -> None:
        if stream:
            connection.head(200, {"content-type": "text/event-stream", "connection": "close"})
            connection.send(faults.event({"error": error}))
            connection.drop()
        else:
            connection.json(200, {"error": error})

    return reply


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("code", [400, "402", 401])
def test_an_error_with_status_200_counts_as_what_its_code_says(
    proxy: Any, fault_server: Any, chosen: str, stream: bool, code: object
):
    fault_server.always(error_in_a_200({"message": "it said no", "code": code}, stream=stream))
    for n_calls in range(1, 7):
        response = proxy.chat("Hi", stream=stream)
        assert response.status_code == int(str(code))
        assert error_of(response)["message"] == "it said no"
        assert len(fault_server.chats) == n_calls, "nothing is asked again"
    assert proxy.service.dispatcher.breaker.state(chosen) == "closed"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("code", [503, None, "overloaded", 200])
def test_any_other_error_with_status_200_is_tried_again(
    proxy: Any, fault_server: Any, chosen: str, stream: bool, code: object
):
    fault_server.script(error_in_a_200({"message": "busy", "code": code}, stream=stream))
    response = proxy.chat("Hi", stream=stream)
    assert response.status_code == 200
    assert response.headers["x-wattroute-model"] == chosen
    assert response.headers["x-wattroute-attempts"] == "2"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("text", [False, True])
def test_an_error_with_status_200_shows_no_key(
    make_proxy: Callable[..., Any], fault_server: Any, stream: bool, text: bool
):
    proxy = make_proxy(key="held-by-the-proxy", log_prompts=True)
    message = "wrong: held-by-the-proxy \ud800"
    error = message if text else {"message": message, "code": "held-by-the-proxy"}
    fault_server.always(error_in_a_200(error, stream=stream))
    response = proxy.chat("Hi", stream=stream)
    assert "wrong: ***" in error_of(response)["message"]
    assert "held-by-the-proxy" not in f"{response.text}{response.headers}{proxy.log_lines(1)}"


def test_an_error_within_a_stream_shows_no_key(make_proxy: Callable[..., Any], fault_server: Any):
    proxy = make_proxy(key="held-by-the-proxy")

    def reply(connection: Any, request: Any) -> None:
        connection.head(200, {"content-type": "text/event-stream", "connection": "close"})
        connection.send(faults.event(faults.chunk(request.body, 0, {"content": "one"})))
        connection.wait(0.05)
        connection.send(faults.event({"error": {"message": "wrong: held-by-the-proxy"}}))
        connection.drop()

    fault_server.always(reply)
    received = b""
    with (
        contextlib.suppress(httpx.RemoteProtocolError),
        proxy.http.stream("POST", "/v1/chat/completions", json=STREAM) as response,
    ):
        for piece in response.iter_raw():
            received += piece
    assert b"wrong: ***" in received
    assert b"held-by-the-proxy" not in received


def test_nothing_but_nonsense_is_a_502(proxy: Any, fault_server: Any):
    fault_server.always(faults.status(200, b"<html>"))
    response = proxy.chat("Hi")
    assert response.status_code == 502
    assert error_of(response)["code"] == "invalid_response"


def test_a_dead_upstream_is_a_502(proxy: Any, fault_server: Any):
    fault_server.stop()
    response = proxy.chat("Hi")
    assert response.status_code == 502
    assert error_of(response)["type"] == "api_error"
    assert proxy.http.get("/health").status_code == 200


def test_an_upstream_that_says_nothing_is_a_504(make_proxy: Callable[..., Any], fault_server: Any):
    fault_server.always(faults.hang(5))
    proxy = make_proxy(timeouts=Timeouts(1.0, 0.1, 1.0))
    response = proxy.chat("Hi")
    assert response.status_code == 504
    assert error_of(response)["code"] == "timeout"


@pytest.mark.parametrize("how", ["close", "reset", "hang"])
def test_half_an_answer_is_not_asked_for_again(
    make_proxy: Callable[..., Any], fault_server: Any, chosen: str, how: str
):
    """It began, so it was worked on and is paid for."""
    fault_server.always(faults.truncated(how))
    proxy = make_proxy(timeouts=Timeouts(2.0, 2.0, 0.1))
    for n_calls in range(1, 6):
        response = proxy.chat("Hi")
        assert response.status_code == 502
        assert error_of(response)["code"] == "broken"
        assert response.headers["x-wattroute-model"] == chosen
        assert len(fault_server.chats) == n_calls
    line = proxy.log_lines(5)[0]
    assert (line["outcome"], line["status"], line["usage"]) == ("failed", 502, None)
    assert proxy.service.dispatcher.breaker.state(chosen) == "open"


def test_a_slow_answer_is_whole(proxy: Any, fault_server: Any):
    fault_server.always(faults.slow_body(0.05))
    assert proxy.chat("Hi").json()["choices"][0]["message"]["content"].endswith(": Hi")


@pytest.mark.parametrize("how", ["close", "reset", "end", "error", "garbage"])
@pytest.mark.parametrize("chunked", [True, False])
def test_a_stream_that_breaks_is_an_error_for_the_client(
    proxy: Any, fault_server: Any, how: str, chunked: bool
):
    fault_server.always(faults.stream(["one", "two", "three"], after=2, how=how, chunked=chunked))
    pieces: list[str] = []

    def read() -> None:
        with openai.OpenAI(base_url=proxy.url, api_key="sk-x", max_retries=0) as client:
            stream = client.chat.completions.create(
                model="auto", messages=[{"role": "user", "content": "Hi"}], stream=True
            )
            pieces.extend(chunk.choices[0].delta.content or "" for chunk in stream)

    with pytest.raises((openai.APIError, httpx.HTTPError, json.JSONDecodeError)):
        read()
    assert pieces == ["one", "two"] or how == "garbage"
    line = proxy.log_lines(1)[0]
    assert line["outcome"] == "broken"
    assert line["usage"] is None
    # an answer that began is not asked for again
    assert len(fault_server.chats) == 1


def test_a_broken_stream_has_an_error_event_and_no_end(proxy: Any, fault_server: Any):
    fault_server.always(faults.stream(["one", "two"], after=1, how="close"))
    received = b""

    def read() -> None:
        nonlocal received
        with proxy.http.stream("POST", "/v1/chat/completions", json=STREAM) as response:
            for piece in response.iter_raw():
                received += piece

    with pytest.raises(httpx.RemoteProtocolError):
        read()
    assert b"[DONE]" not in received
    last = [line for line in received.split(b"\n") if line.startswith(b"data: ")][-1]
    assert json.loads(last[6:])["error"]["code"] == "broken"


def test_a_stream_that_breaks_before_it_begins_goes_elsewhere(
    proxy: Any, fault_server: Any, chosen: str
):
    for how in ("close", "error", "end"):
        fault_server.script(faults.stream(["one"], after=0, how=how), model=chosen)
    response = proxy.chat("Hi", stream=True)
    assert response.status_code == 200
    assert response.headers["x-wattroute-model"] != chosen
    assert response.text.rstrip().endswith("[DONE]")


def test_comments_before_the_first_event_do_not_begin_an_answer(
    proxy: Any, fault_server: Any, chosen: str
):
    def comments_only(connection: Any, request: Any) -> None:
        connection.head(200, {"content-type": "text/event-stream", "connection": "close"})
        connection.send(b": queued\n\n: still queued\n\n")
        connection.drop()

    fault_server.always(comments_only, model=chosen)
    response = proxy.chat("Hi", stream=True)
    assert response.headers["x-wattroute-model"] != chosen
    assert response.text.rstrip().endswith("[DONE]")


def test_a_stream_answered_with_json_is_passed_on(proxy: Any, fault_server: Any):
    body = {"id": "x", "choices": [{"index": 0, "message": {"content": "whole"}}]}
    fault_server.always(faults.status(200, body))
    assert proxy.chat("Hi", stream=True).json() == body


def test_a_router_that_fails_is_recorded_and_the_default_answers(
    make_proxy: Callable[..., Any], fault_server: Any, small_router: Router
):
    class Broken:
        models = small_router.models
        reference = small_router.reference

        def route(self, *_: Any, **__: Any) -> Any:
            raise RuntimeError("the encoder fell over")

    proxy = make_proxy(use=Broken(), default_model="api/medium")
    response = proxy.chat("Hi")
    assert response.status_code == 200
    assert response.headers["x-wattroute-model"] == "api/medium"
    assert "the encoder fell over" in response.headers["x-wattroute-fallback"]
    line = proxy.log_lines(1)[0]
    assert line["probability"] is None
    assert line["energy_j"] is None
    assert line["quality_bar"] == 0.98
    assert proxy.metric('wattroute_fallbacks_total{reason="router"}') == 1


@pytest.mark.parametrize("log_prompts", [False, True])
def test_the_line_of_a_request_without_a_model_is_one_for_the_monitor(
    make_proxy: Callable[..., Any], fault_server: Any, log_prompts: bool
):
    proxy = make_proxy(log_prompts=log_prompts)
    fault_server.always(faults.status(429, {"error": {"message": "spent"}, "daily_limit": 10}))
    assert proxy.chat("Hi").status_code == 429
    # the key rests, and the router cannot read this
    messages = [{"role": "critic", "content": "Hi"}]
    body = {"model": "auto", "messages": messages}
    assert proxy.http.post("/v1/chat/completions", json=body).status_code == 429
    line = proxy.log_lines(2)[1]
    assert (line["model"], line["chosen"], line["outcome"]) == (None, None, "failed")
    read = read_feedback([proxy.service.settings.log])
    assert (read.n_rows, read.problems) == (2, ())


def test_without_a_router_everything_goes_to_the_default(
    make_proxy: Callable[..., Any], fault_server: Any
):
    proxy = make_proxy(use=None, default_model="only")
    response = proxy.chat("Hi")
    assert response.json()["choices"][0]["message"]["content"] == "only: Hi"
    assert proxy.http.get("/ready").json()["status"] == "default model only"


def test_an_open_circuit_is_left_alone(proxy: Any, fault_server: Any, chosen: str):
    fault_server.always(faults.close(), model=chosen)
    for _ in range(6):
        assert proxy.chat("Hi").status_code == 200
    before = sum(chat.model == chosen for chat in fault_server.chats)
    assert proxy.chat("Hi").status_code == 200
    assert sum(chat.model == chosen for chat in fault_server.chats) == before


def test_streams_that_keep_breaking_open_the_circuit(proxy: Any, fault_server: Any, chosen: str):
    fault_server.always(faults.stream(["one", "two"], after=1, how="close"), model=chosen)
    for _ in range(5):
        with pytest.raises(httpx.RemoteProtocolError):
            proxy.chat("Hi", stream=True)
    assert proxy.service.dispatcher.breaker.state(chosen) == "open"
    assert proxy.chat("Hi", stream=True).headers["x-wattroute-model"] != chosen


def test_models_that_are_not_served_are_out(
    proxy: Any, fault_server: Any, chosen: str, wait_until: Callable[..., None]
):
    fault_server.models = [
        name for name in ("api/small", "api/medium", "api/large") if name != chosen
    ]
    proxy.chat("Hi")  # fetches the list in the background
    wait_until(lambda: proxy.service.dispatcher.live.ids(None) is not None)
    response = proxy.chat("Hi")
    assert response.headers["x-wattroute-model"] != chosen


def test_a_model_with_its_own_server_gets_no_key(
    make_proxy: Callable[..., Any], fault_server: Any, chosen: str
):
    with faults.FaultServer() as other:
        proxy = make_proxy(model_upstreams={chosen: other.url}, key="sk-held")
        response = proxy.chat("Hi", headers={"authorization": "Bearer sk-client"})
        assert response.status_code == 200
        (request,) = other.chats
        assert "authorization" not in request.headers
        assert fault_server.chats == []
        assert chosen in [row["id"] for row in proxy.http.get("/v1/models").json()["data"]]


def test_overload_is_said_at_once(
    make_proxy: Callable[..., Any], fault_server: Any, wait_until: Callable[..., None]
):
    fault_server.always(faults.hang(1.0))
    proxy = make_proxy(max_in_flight=1)
    body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "Hi"}]})
    request = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n{body}"
    )
    with socket.create_connection(("127.0.0.1", proxy.port)) as waiting:
        waiting.sendall(request.encode())
        wait_until(lambda: proxy.service.in_flight == 1)
        response = proxy.chat("Hi")
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        assert error_of(response)["code"] == "overloaded"
        assert proxy.http.get("/health").status_code == 200
