"""Routed chat calls: what goes to the upstream, what comes back, what is told of it."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

import fault_server as faults
from router.router import Router

POOL = {"api/small", "api/medium", "api/large"}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]


@pytest.fixture
def client(proxy: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=proxy.url, api_key="sk-client", max_retries=0) as client:
        yield client


def test_a_call_goes_to_the_model_that_the_router_chooses(
    proxy: Any, fault_server: Any, small_router: Router
):
    response = proxy.chat("Why is the sky blue?", max_tokens=50)
    decision = small_router.route("Why is the sky blue?")
    assert response.status_code == 200
    answer = response.json()
    assert answer["choices"][0]["message"]["content"] == f"{decision.model}: Why is the sky blue?"
    headers = response.headers
    assert headers["x-wattroute-model"] == decision.model
    assert float(headers["x-wattroute-probability"]) == pytest.approx(decision.probability, 1e-4)
    assert headers["x-wattroute-reference"] == small_router.reference
    assert headers["x-wattroute-quality"] == "0.98"
    assert headers["x-wattroute-attempts"] == "1"
    assert headers["x-wattroute-request-id"].startswith("wr-")
    assert headers["x-wattroute-energy-from"] == "usage"
    pool = {model.api_id: model for model in small_router.artifact.pool.models}
    usage = answer["usage"]
    used = pool[decision.model].energy(usage["prompt_tokens"], usage["completion_tokens"])
    assert float(headers["x-wattroute-energy-j"]) == pytest.approx(used.value_j, 1e-4)
    low, high = (float(headers[f"x-wattroute-energy-{end}-j"]) for end in ("low", "high"))
    assert low <= used.value_j <= high
    assert fault_server.chats[-1].model == decision.model


def test_every_field_goes_through_as_it_is(proxy: Any, fault_server: Any):
    fields = {
        "temperature": 0.30000000000000004,
        "tools": TOOLS,
        "tool_choice": "auto",
        "response_format": {"type": "json_object"},
        "logprobs": True,
        "n": 2,
        "seed": 12345678901234567890,
        "repeat_penalty": 1.0,
        "some_new_field": {"deep": [1, 2.5, None, "\ud800", "ü"]},
        "max_tokens": 77,
    }
    content = [
        {"type": "text", "text": "What is this? äöü 为什么"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]
    body = {"model": "auto", "messages": [{"role": "user", "content": content}]} | fields
    response = proxy.http.post(
        "/v1/chat/completions",
        content=json.dumps(body),
        headers={"content-type": "application/json"},
    )
    assert response.status_code == 200, response.text
    sent = fault_server.chats[-1].body
    assert sent.pop("model") in POOL
    assert sent == fields | {"messages": body["messages"]}


def test_max_tokens_is_always_sent_and_own_options_are_not(proxy: Any, fault_server: Any):
    assert proxy.chat(wattroute={"quality": 0.9}).status_code == 200
    sent = fault_server.chats[-1].body
    assert sent["max_tokens"] > 256
    assert "wattroute" not in sent


@pytest.mark.parametrize(
    ("name", "headers", "option", "bar"),
    [
        ("auto", {}, None, 0.98),
        ("auto:0.5", {}, None, 0.5),
        ("auto", {"x-wattroute-quality": "0.7"}, None, 0.7),
        ("auto", {}, {"quality": 0.6}, 0.6),
        ("auto:0.5", {"x-wattroute-quality": "0.7"}, {"quality": 0.6}, 0.5),
    ],
)
def test_the_bar_comes_from_the_request(
    proxy: Any,
    small_router: Router,
    name: str,
    headers: dict[str, str],
    option: dict[str, float] | None,
    bar: float,
):
    response = proxy.chat("Prove it.", model=name, headers=headers, wattroute=option)
    assert float(response.headers["x-wattroute-quality"]) == bar
    assert (
        response.headers["x-wattroute-model"] == small_router.route("Prove it.", quality=bar).model
    )
    assert proxy.log_lines(1)[-1]["quality_bar"] == bar


def test_a_floor_in_a_header(proxy: Any, small_router: Router):
    floor = {"x-wattroute-min-probability": "1"}
    assert proxy.chat(headers=floor).headers["x-wattroute-model"] == small_router.reference


def test_what_is_to_be_promised_comes_from_the_request(
    make_proxy: Callable[..., Any], promising_router: Router
):
    proxy = make_proxy(use=promising_router, quality=0.8)
    bar = "bar=0.8; confidence=0.9"
    headers = proxy.chat("Why?").headers
    assert headers["x-wattroute-certificate"] == f"holds; {bar}; n=400"
    assert headers["x-wattroute-model"] == promising_router.route("Why?", quality=0.8).model
    asked = {"x-wattroute-group": "maths", "x-wattroute-session": "a"}
    headers = proxy.chat("Why?", headers=asked).headers
    assert headers["x-wattroute-certificate"] == f"holds; {bar}; n=70; group=maths"
    option = {"confidence": 0.99, "session": "b"}
    headers = proxy.chat("Why?", wattroute=option).headers
    assert headers["x-wattroute-certificate"] == "none; bar=0.8; confidence=0.99; n=400"
    assert headers["x-wattroute-model"] == promising_router.reference
    asked = {"x-wattroute-confidence": "0.99", "x-wattroute-uncertified": "estimate"}
    headers = proxy.chat("Why?", headers=asked, wattroute={"session": "c"}).headers
    estimate = promising_router.route("Why?", quality=0.8, confidence=0.99, uncertified="estimate")
    assert headers["x-wattroute-model"] == estimate.model
    floor = {"x-wattroute-min-probability": "0.7", "x-wattroute-session": "d"}
    headers = proxy.chat("Why?", headers=floor).headers
    assert "; floor=0.7; confidence=0.9; n=" in headers["x-wattroute-floor-certificate"]
    lines = proxy.log_lines(5)
    first = {"holds": True, "bar": 0.8, "confidence": 0.9, "n": 400, "group": None}
    assert lines[0]["certificate"] == first
    assert [line["certificate"]["holds"] for line in lines] == [True, True, False, False, False]
    assert lines[1]["certificate"]["group"] == "maths"
    assert lines[4]["floor_certificate"]["floor"] == lines[4]["min_probability"] == 0.7


def test_what_the_operator_wants_promised(make_proxy: Callable[..., Any], promising_router: Router):
    proxy = make_proxy(use=promising_router, quality=0.8, confidence=0.99, uncertified="estimate")
    estimate = promising_router.route("Why?", quality=0.8, confidence=0.99, uncertified="estimate")
    assert proxy.chat("Why?").headers["x-wattroute-model"] == estimate.model
    careful = {"x-wattroute-uncertified": "reference", "x-wattroute-session": "a"}
    headers = proxy.chat("Why?", headers=careful).headers
    assert headers["x-wattroute-model"] == promising_router.reference


def test_the_novelty_of_a_prompt_is_told(make_proxy: Callable[..., Any]):
    bundled = Router.load()
    proxy = make_proxy(use=bundled)
    response = proxy.chat("What is 12 + 34?")
    novelty = bundled.route("What is 12 + 34?").novelty
    assert novelty is not None
    assert float(response.headers["x-wattroute-novelty"]) == pytest.approx(novelty, 1e-4)
    assert proxy.log_lines(1)[0]["novelty"] == novelty


def test_what_upstreams_say_may_repeat_the_prompt_and_is_not_logged(
    make_proxy: Callable[..., Any], fault_server: Any, tmp_path: Path
):
    said = {"error": {"message": "cannot read: a secret prompt"}}
    answers = (faults.status(403, said), faults.status(200, {"choices": [{"message": {}}]}))
    fault_server.script(*answers)
    proxy = make_proxy()
    response = proxy.chat("a secret prompt")
    assert response.status_code == 200
    assert "a secret prompt" in response.headers["x-wattroute-fallback"]
    (line,) = proxy.log_lines(1)
    assert line["fallback"] == f"{line['chosen']}: forbidden"
    assert "secret" not in proxy.service.settings.log.read_text()
    fault_server.script(*answers)
    proxy = make_proxy(log_prompts=True, log=tmp_path / "open.jsonl")
    proxy.chat("a secret prompt")
    assert "cannot read" in proxy.log_lines(1)[0]["fallback"]


def test_a_real_id_passes_through_untouched(proxy: Any, fault_server: Any):
    raw = b'{"model": "some/model",  "messages":[{"role":"user","content":"Hi"}], "x": 1.0}'
    response = proxy.http.post(
        "/v1/chat/completions", content=raw, headers={"content-type": "application/json"}
    )
    assert response.status_code == 200
    assert fault_server.chats[-1].content == raw
    assert "x-wattroute-model" not in response.headers


def test_streams_pass_on_the_bytes_of_the_upstream(proxy: Any, fault_server: Any):
    fault_server.always(faults.stream(["one", " two", " ", "three"], usage=True))
    direct = httpx.post(
        f"{fault_server.url}/chat/completions",
        json={"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hi"}]},
    )
    with proxy.http.stream(
        "POST",
        "/v1/chat/completions",
        json={"model": "auto", "stream": True, "messages": [{"role": "user", "content": "Hi"}]},
    ) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["x-wattroute-model"] in POOL
        assert response.headers["x-wattroute-energy-from"] == "prediction"
        passed = response.read()

    def events(body: bytes) -> list[Any]:
        data = [line[6:] for line in body.split(b"\n") if line.startswith(b"data: ")]
        parsed = [json.loads(item) for item in data if item != b"[DONE]"]
        return [{k: v for k, v in e.items() if k not in ("id", "created", "model")} for e in parsed]

    assert events(passed) == events(direct.content)
    assert passed.endswith(b"data: [DONE]\n\n")
    line = proxy.log_lines(1)[0]
    assert line["outcome"] == "answered"
    assert line["stream"] is True
    assert line["usage"]["estimated"] is False
    assert line["energy_used_j"] > 0


def test_the_first_event_does_not_wait_for_the_last(proxy: Any, fault_server: Any):
    fault_server.always(faults.stream(["a"] * 5, delay_s=0.3))
    body = {"model": "auto", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    with proxy.http.stream("POST", "/v1/chat/completions", json=body) as response:
        first = next(response.iter_raw())
        assert b"data:" in first
        assert b"[DONE]" not in first


def test_tokens_are_counted_where_a_stream_has_no_usage(proxy: Any, fault_server: Any):
    fault_server.always(faults.stream(["a", "b", "c"]))
    assert proxy.chat(stream=True).status_code == 200
    usage = proxy.log_lines(1)[0]["usage"]
    assert usage["estimated"] is True
    assert usage["completion_tokens"] == 3


def test_the_openai_client_routes_streams_and_sends_tools(client: openai.OpenAI, fault_server: Any):
    answer = client.chat.completions.with_raw_response.create(
        model="auto",
        messages=[{"role": "user", "content": "Hi"}],
        tools=TOOLS,  # type: ignore[list-item]
    )
    model = answer.headers["x-wattroute-model"]
    assert answer.parse().choices[0].message.content == f"{model}: Hi"
    assert fault_server.chats[-1].body["tools"] == TOOLS
    assert fault_server.chats[-1].headers["authorization"] == "Bearer sk-client"
    stream = client.chat.completions.create(
        model="auto:0.9", messages=[{"role": "user", "content": "Hi"}], stream=True
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert text.endswith(": Hi")


def test_calls_at_the_same_time_are_not_mixed_up(proxy: Any):
    mixed: list[str] = []

    def ask(worker: int) -> None:
        with httpx.Client(timeout=20.0) as http:
            for i in range(15):
                body = {
                    "model": "auto",
                    "stream": i % 2 == 0,
                    "messages": [{"role": "user", "content": f"<{worker}-{i}>"}],
                }
                response = http.post(f"{proxy.url}/chat/completions", json=body)
                text = response.text if i % 2 else _text_of_stream(response.text)
                if f"<{worker}-{i}>" not in text:
                    mixed.append(response.text)

    threads = [threading.Thread(target=ask, args=(worker,)) for worker in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert mixed == []


def _text_of_stream(body: str) -> str:
    data = [line[6:] for line in body.splitlines() if line.startswith("data: {")]
    choices = [json.loads(item)["choices"] for item in data]
    return "".join(c[0]["delta"].get("content") or "" for c in choices if c)


def test_a_conversation_keeps_its_model(proxy: Any):
    session = {"x-wattroute-session": "s-1"}
    first = proxy.chat("Write a poem.", headers=session, model="auto:0.98")
    second = proxy.chat("And another one.", headers=session, model="auto:0.01")
    assert second.headers["x-wattroute-model"] == first.headers["x-wattroute-model"]
    lines = proxy.log_lines(2)
    assert lines[0]["session"] == lines[1]["session"]
    assert "s-1" not in json.dumps(lines)


def test_the_log_has_hash_and_length_but_no_prompt(proxy: Any):
    response = proxy.chat("A secret prompt.")
    (line,) = proxy.log_lines(1)
    assert line["request_id"] == response.headers["x-wattroute-request-id"]
    assert line["prompt_sha256"] == hashlib.sha256(b"A secret prompt.").hexdigest()
    assert line["n_characters"] == len("A secret prompt.")
    assert line["model"] == line["chosen"] == response.headers["x-wattroute-model"]
    assert line["run_name"] == line["model"].removeprefix("api/")
    assert line["outcome"] == "answered"
    assert line["status"] == 200
    assert line["attempts"] == 1
    assert line["usage"] == {"prompt_tokens": 11, "completion_tokens": 7, "estimated": False}
    assert line["energy_low_j"] <= line["energy_j"] <= line["energy_high_j"]
    assert 0 < line["first_byte_s"] <= line["latency_s"]
    assert "prompt" not in line
    assert "secret" not in proxy.service.settings.log.read_text()


def test_prompts_are_logged_where_the_operator_asks(make_proxy: Callable[..., Any]):
    proxy = make_proxy(log_prompts=True)
    proxy.chat("An open prompt.")
    assert proxy.log_lines(1)[0]["prompt"] == [{"role": "user", "content": "An open prompt."}]


def test_metrics_add_up(proxy: Any, small_router: Router):
    model = proxy.chat().headers["x-wattroute-model"]
    proxy.chat()
    proxy.log_lines(2)
    assert proxy.metric(f'wattroute_decisions_total{{model="{model}"}}') == 2
    assert proxy.metric(f'wattroute_answers_total{{model="{model}"}}') == 2
    assert proxy.metric(f'wattroute_tokens_total{{model="{model}",kind="prompt"}}') == 22
    assert proxy.metric('wattroute_outcomes_total{outcome="answered"}') == 2
    assert proxy.metric("wattroute_request_seconds_count") == 2
    energy = proxy.metric(f'wattroute_energy_joules_total{{model="{model}"}}')
    reference = proxy.metric("wattroute_reference_energy_joules_total")
    assert reference - energy == pytest.approx(proxy.metric("wattroute_saved_energy_joules"))


def test_a_client_that_goes_away_is_not_answered(
    proxy: Any, fault_server: Any, wait_until: Callable[..., None]
):
    """Its connection to the upstream is closed as well: nobody generates for nobody."""
    fault_server.always(faults.stream(["a"] * 500, delay_s=0.02))
    body = {"model": "auto", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    with (
        httpx.Client() as http,
        http.stream("POST", f"{proxy.url}/chat/completions", json=body) as response,
    ):
        next(response.iter_raw())
    assert proxy.log_lines(1)[0]["outcome"] == "disconnected"
    # one that fetched the list of models may stay
    wait_until(lambda: proxy.service.upstream.n_connections <= 1)


def _whole_without_end(wait_s: float) -> Callable[[Any, Any], None]:
    """A stream up to [DONE] whose body never ends as it should."""

    def reply(connection: Any, request: Any) -> None:
        connection.head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})
        choice = {"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}
        connection.chunk(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n")
        connection.chunk(b"data: [DONE]\n\n")
        connection.wait(wait_s)
        connection.drop()

    return reply


def test_an_upstream_that_breaks_after_the_last_event_has_answered(proxy: Any, fault_server: Any):
    fault_server.always(_whole_without_end(0.05))
    response = proxy.chat("Hi", stream=True)
    assert response.text.endswith("data: [DONE]\n\n")
    assert proxy.log_lines(1)[0]["outcome"] == "answered"


def test_a_client_that_goes_away_after_the_last_event_was_answered(proxy: Any, fault_server: Any):
    """The openai client closes at [DONE], before the body ends."""
    fault_server.always(_whole_without_end(5.0))
    with openai.OpenAI(base_url=proxy.url, api_key="sk-x", max_retries=0) as client:
        stream = client.chat.completions.create(
            model="auto", messages=[{"role": "user", "content": "Hi"}], stream=True
        )
        assert [chunk.choices[0].delta.content for chunk in stream] == ["Hi"]
    (line,) = proxy.log_lines(1)
    assert line["outcome"] == "answered"
    assert line["finish_reason"] == "stop"
    assert line["usage"]["completion_tokens"] == 1
    assert proxy.metric('wattroute_outcomes_total{outcome="answered"}') == 1


def test_a_client_that_goes_away_before_the_answer(
    proxy: Any, fault_server: Any, wait_until: Callable[..., None]
):
    fault_server.always(faults.hang(5))
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{proxy.url}/chat/completions",
            json={"model": "auto", "messages": [{"role": "user", "content": "Hi"}]},
            timeout=0.3,
        )
    (line,) = proxy.log_lines(1)
    assert line["outcome"] == "disconnected"
    assert line["status"] == 0
    wait_until(lambda: proxy.service.in_flight == 0)
    name = 'wattroute_requests_total{endpoint="/v1/chat/completions",status="0"}'
    assert proxy.metric(name) == 1


def test_clients_that_read_slowly_disturb_nobody(proxy: Any):
    """While their answers wait to go out, the connections to the upstream serve others."""
    mixed: list[str] = []

    def ask(worker: int) -> None:
        slow = worker % 2 == 0
        content = f"<{worker}>" * (300_000 if slow else 1)
        messages = [{"role": "user", "content": content}]
        body = {"model": "auto", "stream": slow, "messages": messages}
        with httpx.Client(timeout=30.0) as http:
            for _ in range(1 if slow else 30):
                read = b""
                with http.stream("POST", f"{proxy.url}/chat/completions", json=body) as response:
                    for piece in response.iter_raw(65_536):
                        read += piece
                        if slow:
                            time.sleep(0.02)
                if content.encode() not in read or (slow and b"[DONE]" not in read):
                    mixed.append(f"{worker}: {read[-200:]!r}")

    threads = [threading.Thread(target=ask, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert mixed == []
