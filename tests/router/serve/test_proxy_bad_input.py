"""Requests that are wrong, hostile or huge: an error in OpenAI's shape, and the proxy goes on."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fault_server as faults

JSON = {"content-type": "application/json"}
GOOD = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}]}


def post(proxy: Any, content: bytes, path: str = "/v1/chat/completions") -> httpx.Response:
    response: httpx.Response = proxy.http.post(path, content=content, headers=JSON)
    return response


def check_refused(response: httpx.Response, *statuses: int) -> dict[str, Any]:
    assert response.status_code in (statuses or (400,)), response.text[:300]
    assert response.headers["content-type"] == "application/json"
    error: dict[str, Any] = response.json()["error"]
    assert error.keys() >= {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    for word in ("Traceback", ".py", "router/"):
        assert word not in response.text
    return error


@pytest.fixture
def proxy(shared_proxy: Any) -> Iterator[Any]:
    """The shared proxy, which must serve as before after each test."""
    shared_proxy.upstream.requests.clear()
    yield shared_proxy
    assert shared_proxy.chat().status_code == 200


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"model": "auto"',
        b"[]",
        b"null",
        b'"auto"',
        b"5",
        b"\xff\xfe",
        b'{"model": "auto", "messages": [{"role": "user", "content": "\xff"}]}',
        b'\xef\xbb\xbf{"model": "auto"}',
        '{"model": "auto"}'.encode("utf-16"),
        b'{"model": "auto", "messages": [{"role": "user", "content": "a\nb"}]}',
        b'{"model": NaN}',
        b'{"temperature": Infinity}',
        b'{"temperature": 1e999}',
        b'{"temperature": -1e999}',
        b'{"seed": ' + b"9" * 5_000 + b"}",
        b"[" * 50_000,
        b'{"a":' * 12_000,
        b'{"a":' * 500 + b"1" + b"}" * 500,
        b'{"messages": ' + b"[" * 101 + b"]" * 101 + b"}",
    ],
    ids=lambda content: repr(content[:30]),
)
def test_bodies_that_are_no_json_object(proxy: Any, content: bytes):
    for path in ("/v1/chat/completions", "/v1/route", "/v1/feedback"):
        assert check_refused(post(proxy, content, path))["code"] == "invalid_json"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": 5}, "model"),
        ({"model": ["auto"]}, "model"),
        ({"model": "auto:"}, "model"),
        ({"model": "auto:x"}, "model"),
        ({"model": "auto:1.5"}, "model"),
        ({"model": "auto:0"}, "model"),
        ({"model": "auto:nan"}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": {"role": "user"}}, "messages"),
        ({"messages": ["Hi"]}, "messages[0]"),
        ({"messages": [None]}, "messages[0]"),
        ({"messages": [{}]}, "messages[0].role"),
        ({"messages": [{"role": 5}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": {}}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [5]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]},
            "messages[0].content[0].text",
        ),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"n": 0}, "n"),
        ({"n": True}, "n"),
        ({"n": 1.5}, "n"),
        ({"n": 129}, "n"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"max_tokens": 10**30}, "max_tokens"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"tools": {}}, "tools"),
        ({"response_format": "json"}, "response_format"),
        ({"user": 5}, "user"),
        ({"stream_options": []}, "stream_options"),
        ({"wattroute": []}, "wattroute"),
        ({"wattroute": {"quality": 2}}, None),
        ({"wattroute": {"quality": "high"}}, None),
        ({"wattroute": {"qualty": 0.9}}, None),
        ({"wattroute": {"session": 5}}, None),
        ({"wattroute": {"confidence": 1}}, None),
        ({"wattroute": {"uncertified": "maybe"}}, None),
        ({"wattroute": {"group": 5}}, None),
    ],
    ids=str,
)
def test_fields_of_the_wrong_type(proxy: Any, change: dict[str, Any], param: str | None):
    content = json.dumps(GOOD | change).encode()
    error = check_refused(post(proxy, content))
    assert error["param"] == param
    assert proxy.upstream.chats == []


@pytest.mark.parametrize(
    "headers",
    [
        {"x-wattroute-quality": "high"},
        {"x-wattroute-quality": "2"},
        {"x-wattroute-quality": "nan"},
        {"x-wattroute-quality": ""},
        {"x-wattroute-min-probability": "-1"},
        {"x-wattroute-confidence": "1"},
        {"x-wattroute-confidence": "often"},
        {"x-wattroute-uncertified": "maybe"},
        {"x-wattroute-uncertified": ""},
        {"x-wattroute-group": "auto"},  # which this router cannot find
    ],
    ids=str,
)
def test_headers_that_are_wrong(proxy: Any, headers: dict[str, str]):
    check_refused(proxy.chat(headers=headers))


def test_a_role_that_the_router_does_not_know_is_the_upstreams_to_judge(
    proxy: Any, small_router: Any
):
    """A new role must not break a program: the default model gets the request."""
    response = proxy.http.post(
        "/v1/chat/completions", json=GOOD | {"messages": [{"role": "critic", "content": "Hi"}]}
    )
    assert response.status_code == 200
    assert response.headers["x-wattroute-model"] == small_router.reference
    assert "role" in response.headers["x-wattroute-fallback"]
    assert len(proxy.log_lines(1)[-1]["prompt_sha256"]) == 64


def test_a_prompt_of_ten_megabytes_is_refused(proxy: Any):
    error = check_refused(proxy.chat("a" * 10_000_000), 413)
    assert error["code"] == "context_length_exceeded"
    parts = [{"type": "text", "text": "ä" * 2_100_000}] * 2
    assert check_refused(proxy.chat(parts), 413)["param"] == "messages"
    assert proxy.upstream.chats == []


def test_an_image_of_some_megabytes_is_no_long_prompt(proxy: Any):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 6_000_000}}
    response = proxy.chat([{"type": "text", "text": "What is this?"}, image])
    assert response.status_code == 200
    assert proxy.upstream.chats[-1].body["messages"][0]["content"][1] == image


def test_a_large_but_allowed_prompt_is_routed(proxy: Any):
    assert proxy.chat("word " * 200_000).status_code == 200


def test_bodies_beyond_the_limit_are_not_read(proxy: Any):
    check_refused(post(proxy, b'{"a": "' + b"a" * 22_000_000), 413)

    def endless() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * 1_000_000

    with httpx.Client(timeout=20.0) as http:
        try:
            response = http.post(f"{proxy.url}/chat/completions", content=endless(), headers=JSON)
        except httpx.WriteError:
            return  # the proxy closed the connection before the end
        assert response.status_code == 413


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/route", "/v1/feedback"])
@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a"]
)
def test_other_content_types_are_refused(proxy: Any, path: str, kind: str):
    """A web page can send these from a visitor's browser without asking."""
    response = proxy.http.post(path, content=json.dumps(GOOD), headers={"content-type": kind})
    assert check_refused(response, 415)["code"] == "unsupported_media_type"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded"])
@pytest.mark.parametrize("method", ["PATCH", "POST", "PUT"])
def test_other_content_types_are_not_passed_through(proxy: Any, method: str, kind: str):
    response = proxy.http.request(
        method, "/v1/embeddings", content="{}", headers={"content-type": kind}
    )
    assert check_refused(response, 415)["code"] == "unsupported_media_type"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/feedback"),
        ("POST", "/v1/embeddings"),
        ("GET", "/v1/models"),
        ("DELETE", "/v1/files/a"),
        ("OPTIONS", "/v1/chat/completions"),
        ("GET", "/metrics"),
    ],
)
@pytest.mark.parametrize(
    "sent",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "https://evil.example", "host": "evil.example"},  # a name that points here
        {"sec-fetch-site": "cross-site"},
    ],
)
def test_a_web_page_of_another_site_is_refused(
    proxy: Any, method: str, path: str, sent: dict[str, str]
):
    body = GOOD if method == "POST" else None
    response = proxy.http.request(method, path, json=body, headers=sent)
    assert response.status_code == 403
    error = response.json()["error"]
    assert (error["type"], error["code"]) == ("permission_error", "forbidden_origin")
    assert not any(name.startswith("access-control-") for name in response.headers)
    assert {request.route for request in proxy.upstream.requests} <= {"/v1/models"}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_a_page_of_the_proxys_own_host_is_not(proxy: Any, host: str):
    own = f"{host}:{proxy.port}"
    headers = {"origin": f"http://{own}", "host": own, "sec-fetch-site": "same-origin"}
    assert proxy.chat(headers=headers).status_code == 200


def test_a_proxy_for_others_is_reached_by_any_name(make_proxy: Callable[..., Any]):
    proxy = make_proxy(host="0.0.0.0")
    headers = {"origin": "http://Proxy.example:8000", "host": "proxy.example:8000"}
    assert proxy.chat(headers=headers).status_code == 200


def test_no_answer_is_open_to_web_pages(make_proxy: Callable[..., Any], fault_server: Any):
    """Whatever the upstream allows, and it is not asked what it allows."""
    proxy = make_proxy()

    def reply(connection: Any, request: Any) -> None:
        allowed = {"Access-Control-Allow-Origin": "*", "x-own": "1"}
        connection.json(200, faults.completion(request), allowed)

    fault_server.always(reply)
    for response in (proxy.chat(), proxy.chat(model="named")):
        assert response.headers["x-own"] == "1"
        assert "access-control-allow-origin" not in response.headers
    response = proxy.http.options("/v1/embeddings")
    assert check_refused(response, 405)["code"] == "method_not_allowed"
    assert "OPTIONS" not in response.headers["allow"]
    # at its first request the proxy asks, by itself, which models the upstream has
    asked = {(request.method, request.path) for request in fault_server.requests}
    assert asked <= {("POST", "/v1/chat/completions"), ("GET", "/v1/models")}


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "Application/JSON", None]
)
def test_json_is_taken(proxy: Any, kind: str | None):
    headers = {} if kind is None else {"content-type": kind}
    response = proxy.http.post("/v1/chat/completions", content=json.dumps(GOOD), headers=headers)
    assert response.status_code == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GARBAGE\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n"
        b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /v1/\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /v1/%ff%fe HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"GET http://other/v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{",
    ],
    ids=lambda data: repr(data[:40]),
)
def test_requests_that_are_hardly_http(proxy: Any, request_bytes: bytes):
    with socket.create_connection(("127.0.0.1", proxy.port)) as connection:
        connection.sendall(request_bytes)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(5)
        data = connection.recv(65_536)
    assert not data or data.startswith((b"HTTP/1.1 4", b"HTTP/1.1 200"))
    assert b"Traceback" not in data


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
messages = st.lists(
    st.fixed_dictionaries(
        {}, optional={"role": st.sampled_from(["user", "system"]) | values, "content": values}
    )
    | values,
    max_size=3,
)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(["auto", "auto:0.9"]) | values,
        "messages": messages | values,
        "stream": values,
        "max_tokens": values,
        "n": values,
        "tools": values,
        "response_format": values,
        "wattroute": values,
        "user": values,
        "other": values,
    },
)


@given(body=bodies)
def test_any_json_gets_an_answer_or_an_error(shared_proxy: Any, body: dict[str, Any]):
    for path in ("/v1/chat/completions", "/v1/route", "/v1/feedback"):
        response = post(shared_proxy, json.dumps(body).encode(), path)
        if response.status_code != 200:
            check_refused(response, 400, 404, 413)


@given(content=st.binary(max_size=200))
def test_any_bytes_get_an_error(shared_proxy: Any, content: bytes):
    response = post(shared_proxy, content)
    assert response.status_code in (200, 400)
