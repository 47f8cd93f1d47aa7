"""The proxy's own endpoints, what it passes through, and whose key goes where."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

import fault_server as faults
import router
from router.router import Router
from router.rules import TaskRules


def test_auto_is_among_the_models(proxy: Any, fault_server: Any):
    fault_server.models = ["b", "auto", "a"]
    body = proxy.http.get("/v1/models").json()
    assert [row["id"] for row in body["data"]] == ["auto", "b", "a"]
    assert proxy.http.get("/v1/models/auto").json()["id"] == "auto"
    with openai.OpenAI(base_url=proxy.url, api_key="sk-x") as client:
        assert {model.id for model in client.models.list()} == {"auto", "a", "b"}


def test_the_pool_is_listed_where_the_upstream_gives_no_list(proxy: Any, fault_server: Any):
    fault_server.stop()
    response = proxy.http.get("/v1/models")
    assert [row["id"] for row in response.json()["data"]] == [
        "auto",
        "api/small",
        "api/medium",
        "api/large",
    ]
    assert "x-wattroute-fallback" in response.headers


def test_a_decision_without_a_call(proxy: Any, fault_server: Any, small_router: Router):
    body = {"messages": [{"role": "user", "content": "Prove it."}]}
    answer = proxy.http.post("/v1/route", json=body).json()
    decision = small_router.route("Prove it.")
    assert answer["model"] == decision.model
    assert answer["decision"] == json.loads(json.dumps(decision.to_dict()))
    assert answer["probability"] == decision.probability
    assert answer["max_tokens"] > 256
    assert fault_server.chats == []
    assert proxy.service.settings.log.read_text() == ""
    assert answer["certificate"] == answer["decision"]["certificate"]
    assert answer["novelty"] is None
    header = proxy.http.post("/v1/route", json=body, headers={"x-wattroute-quality": "0.3"}).json()
    assert header["decision"]["quality"] == 0.3


def test_what_would_be_promised_without_a_call(
    make_proxy: Callable[..., Any], promising_router: Router
):
    proxy = make_proxy(use=promising_router)
    body: dict[str, Any] = {"messages": [{"role": "user", "content": "Why?"}], "model": "auto:0.8"}
    body["wattroute"] = {"group": "maths", "min_probability": 0.7}
    answer = proxy.http.post("/v1/route", json=body).json()
    assert answer["certificate"]["group"] == "maths"
    assert answer["certificate"]["reason"].startswith("not covered")
    assert answer["floor_certificate"]["floor"] == 0.7


def test_a_decision_of_rules_is_json_too(make_proxy: Callable[..., Any], tmp_path: Path):
    """Rules know no probabilities: what is not a number is null."""
    file = tmp_path / "rules.toml"
    rule = 'task = "proof"\nmodel = "qwen-3-32b"\nkeywords = ["prove"]\n'
    file.write_text(f'default = "mistral-24b"\n[[rule]]\n{rule}')
    proxy = make_proxy(use=TaskRules.load(file))
    body = {"messages": [{"role": "user", "content": "Please prove it."}]}
    response = proxy.http.post("/v1/route", json=body)
    assert response.status_code == 200, response.text
    assert response.json()["model"] == "qwen-3-32b"
    assert "NaN" not in response.text
    assert proxy.chat("Please prove it.").headers["x-wattroute-model"] == "qwen-3-32b"
    told = {"x-wattroute-task": "proof", "x-wattroute-session": "a"}
    assert proxy.chat("Hi", headers=told).headers["x-wattroute-model"] == "qwen-3-32b"
    assert "NaN" not in proxy.service.settings.log.read_text()


def test_feedback_is_appended_to_the_log(proxy: Any):
    request_id = proxy.chat().headers["x-wattroute-request-id"]
    for quality in (0, 0.25, 1):
        answer = proxy.http.post(
            "/v1/feedback", json={"request_id": request_id, "quality": quality}
        )
        assert answer.json() == {
            "request_id": request_id,
            "quality": quality,
            "status": "recorded",
        }
    lines = proxy.log_lines(3, "feedback")
    assert [line["quality"] for line in lines] == [0.0, 0.25, 1.0]
    assert {line["request_id"] for line in lines} == {request_id}
    assert proxy.metric("wattroute_feedback_total") == 3
    assert proxy.metric("wattroute_feedback_quality_sum") == 1.25


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"request_id": "wr-1"},
        {"quality": 1},
        {"request_id": "wr-1", "quality": 1.1},
        {"request_id": "wr-1", "quality": -0.1},
        {"request_id": "wr-1", "quality": True},
        {"request_id": "wr-1", "quality": "1"},
        {"request_id": 5, "quality": 1},
        {"request_id": "", "quality": 1},
        {"request_id": "a b", "quality": 1},
        {"request_id": "wr-1", "quality": 1, "comment": "x"},
    ],
)
def test_feedback_that_is_none(proxy: Any, body: dict[str, Any]):
    response = proxy.http.post("/v1/feedback", json=body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] is not None
    assert proxy.service.settings.log.read_text() == ""


def test_feedback_without_a_log(make_proxy: Callable[..., Any]):
    proxy = make_proxy(log=None)
    response = proxy.http.post("/v1/feedback", json={"request_id": "wr-1", "quality": 1})
    assert response.status_code == 409
    assert "--log" in response.json()["error"]["message"]
    assert proxy.chat().status_code == 200


def test_health_and_readiness(proxy: Any):
    assert proxy.http.get("/health").json() == {"status": "ok", "version": router.__version__}
    ready = proxy.http.get("/ready")
    assert ready.status_code == 200
    assert ready.json()["models"] == ["api/small", "api/medium", "api/large"]
    proxy.service.stopping = True
    assert proxy.http.get("/ready").status_code == 503
    assert proxy.http.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/embeddings"), ("GET", "/v1/files?limit=2"), ("DELETE", "/v1/files/a%20b")],
)
def test_everything_else_is_passed_through(proxy: Any, fault_server: Any, method: str, path: str):
    body = {"model": "bge-large", "input": "text"} if method == "POST" else None
    response = proxy.http.request(
        method, path, json=body, headers={"authorization": "Bearer sk-client", "x-own": "1"}
    )
    assert response.status_code == 200
    assert response.json() == {"path": path, "echo": body}
    request = fault_server.requests[-1]
    assert request.method == method
    assert request.headers["authorization"] == "Bearer sk-client"
    assert request.headers["x-own"] == "1"


def test_a_file_is_passed_through(proxy: Any, fault_server: Any):
    files = {"file": ("speech.wav", b"RIFF")}
    assert proxy.http.post("/v1/audio/transcriptions", files=files).status_code == 200
    request = fault_server.requests[-1]
    assert request.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b"RIFF" in request.content


def test_errors_that_are_passed_through_get_openais_shape(proxy: Any, fault_server: Any):
    shaped = {"error": {"message": "m", "type": "t", "param": None, "code": "c"}, "more": 1}
    fault_server.script(
        faults.status(404, shaped),
        faults.status(403, {"error": "model_access_denied", "message": "Upgrade."}),
        faults.status(422, {"detail": "no such field"}),
        faults.status(500, b"<html>"),
    )
    found = [proxy.chat(model="m") for _ in range(4)]
    assert [response.status_code for response in found] == [404, 403, 422, 500]
    assert found[0].json() == shaped
    errors = [response.json()["error"] for response in found]
    assert (errors[1]["code"], errors[1]["message"]) == ("model_access_denied", "Upgrade.")
    assert errors[2]["message"] == "no such field"
    assert "500" in errors[3]["message"]


def test_a_dead_upstream_behind_what_is_passed_through(proxy: Any, fault_server: Any):
    fault_server.stop()
    response = proxy.http.post("/v1/embeddings", json={"input": "x"})
    assert response.status_code == 502
    assert response.json()["error"]["code"] == "connection"


def test_a_stream_that_is_passed_through_and_breaks_has_no_end(proxy: Any, fault_server: Any):
    fault_server.always(faults.stream(["one", "two"], after=1, how="close"))

    def read() -> None:
        with openai.OpenAI(base_url=proxy.url, api_key="sk-x", max_retries=0) as client:
            stream = client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "Hi"}], stream=True
            )
            for _ in stream:
                pass

    with pytest.raises((openai.APIError, httpx.HTTPError)):
        read()


@pytest.mark.parametrize(
    "path", ["/v1/../metrics", "/v1/%2e%2e/admin", "/v1/a/..%2f..%2fb", "/v1/./x", "/v1/a\\..\\b"]
)
def test_no_path_leads_out_of_the_upstreams_base(proxy: Any, fault_server: Any, path: str):
    status, _ = proxy_raw(proxy, f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert status in (400, 404)
    assert fault_server.requests == []


def proxy_raw(proxy: Any, request: str) -> tuple[int, bytes]:
    with socket.create_connection(("127.0.0.1", proxy.port)) as connection:
        connection.sendall(request.encode())
        data = b""
        while piece := connection.recv(65_536):
            data += piece
    return int(data.split(b" ")[1]), data


def test_a_held_key_replaces_the_clients(make_proxy: Callable[..., Any], fault_server: Any):
    proxy = make_proxy(key="sk-held")
    headers = {"authorization": "Bearer sk-client", "x-api-key": "sk-other", "cookie": "a=b"}
    proxy.chat(headers=headers)
    proxy.http.post("/v1/embeddings", json={}, headers=headers)
    for request in fault_server.requests:
        assert request.headers["authorization"] == "Bearer sk-held"
        assert "x-api-key" not in request.headers
        assert "cookie" not in request.headers


def test_a_key_of_the_proxys_own(make_proxy: Callable[..., Any], fault_server: Any):
    proxy = make_proxy(access_key="sk-door", key="sk-held")
    for path in ("/v1/chat/completions", "/v1/route", "/v1/feedback", "/v1/embeddings"):
        for headers in ({}, {"authorization": "Bearer sk-wrong"}, {"authorization": "sk-door"}):
            response = proxy.http.post(path, json={}, headers=headers)
            assert response.status_code == 401
            assert response.json()["error"]["code"] == "invalid_api_key"
    assert proxy.http.get("/v1/models").status_code == 401
    assert fault_server.chats == []
    assert proxy.chat(headers={"authorization": "Bearer sk-door"}).status_code == 200
    assert fault_server.chats[-1].headers["authorization"] == "Bearer sk-held"
    for path in ("/health", "/ready", "/metrics", "/openapi.json"):
        assert proxy.http.get(path).status_code == 200


def test_a_key_of_the_proxy_is_not_shown_to_the_upstream(
    make_proxy: Callable[..., Any], fault_server: Any
):
    proxy = make_proxy(access_key="sk-door")
    proxy.chat(headers={"authorization": "Bearer sk-door"})
    assert "authorization" not in fault_server.chats[-1].headers


def test_keys_are_nowhere_but_on_the_wire(
    make_proxy: Callable[..., Any],
    fault_server: Any,
    caplog: pytest.LogCaptureFixture,
):
    caplog.set_level(logging.DEBUG)
    proxy = make_proxy(key="held-key-4711", log_prompts=True)
    shown = [repr(proxy.service.settings)]
    headers = {"authorization": "Bearer client-key-0815"}
    fault_server.script(faults.status(500), faults.status(401, b"wrong: held-key-4711"))
    for path in ("/v1/chat/completions", "/v1/route", "/v1/embeddings", "/nothing"):
        body = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}]}
        response = proxy.http.post(path, json=body, headers=headers)
        shown += [str(response.headers), response.text]
    shown += [proxy.http.get("/metrics").text, proxy.http.get("/ready").text, caplog.text]
    proxy.log_lines(1)
    shown.append(proxy.service.settings.log.read_text())
    assert not [text for text in shown if "4711" in text or "0815" in text]


def test_the_upstreams_own_headers_cannot_pretend(proxy: Any, fault_server: Any):
    body = {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}
    headers = {"x-wattroute-model": "forged", "x-request-id": "req-1", "set-cookie": "a=b"}
    fault_server.always(faults.status(200, body, headers))
    response = proxy.chat()
    assert response.headers["x-wattroute-model"] != "forged"
    assert response.headers["x-request-id"] == "req-1"


def test_metrics_are_prometheus_text(proxy: Any):
    proxy.chat()
    proxy.log_lines(1)
    response = proxy.http.get("/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    names = set()
    for line in response.text.splitlines():
        if line.startswith("# TYPE"):
            names.add(line.split()[2])
        elif not line.startswith("#"):
            key, _, value = line.rpartition(" ")
            float(value)
            assert key.split("{")[0].removesuffix("_bucket") or names
    assert {"wattroute_requests_total", "wattroute_request_seconds"} <= names
    buckets = [
        float(line.rpartition(" ")[2])
        for line in response.text.splitlines()
        if line.startswith("wattroute_request_seconds_bucket")
    ]
    assert buckets == sorted(buckets)
    assert buckets[-1] == 1


def test_methods_and_paths_that_there_are_not(proxy: Any):
    for method, path, status in [
        ("POST", "/health", 405),
        ("GET", "/v1/route", 405),
        ("GET", "/", 404),
        ("GET", "/v2/models", 404),
        ("GET", "/metrics/", 404),
    ]:
        response = proxy.http.request(method, path)
        assert response.status_code == status
        assert response.json()["error"]["code"] in ("method_not_allowed", "not_found")


def test_the_description_names_every_endpoint(proxy: Any):
    document = proxy.http.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    for path in document["paths"]:
        for method in document["paths"][path]:
            assert proxy.http.request(method, path, json={}).status_code != 404


def test_every_description_is_one_of_a_schema(proxy: Any):
    document = proxy.http.get("/openapi.json").json()
    references = set(_references(document))
    assert references
    for reference in references:
        _, components, schemas, name = reference.split("/")
        assert name in document[components][schemas]


def _references(node: Any) -> list[str]:
    if isinstance(node, list):
        return [reference for item in node for reference in _references(item)]
    if not isinstance(node, dict):
        return []
    own = [node["$ref"]] if "$ref" in node else []
    return own + [reference for item in node.values() for reference in _references(item)]
