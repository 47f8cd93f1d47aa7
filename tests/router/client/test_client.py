"""The clients where nothing fails: what is sent, what comes back, what it says of itself."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel

import fault_server as faults
from router.client import (
    AsyncOpenAI,
    AsyncRoutedStream,
    BrokenAnswerError,
    MissingKeyError,
    OpenAI,
    RoutedCompletion,
    RoutedStream,
    decision_of,
)
from router.dispatch import Dispatched, Dispatcher, RetryPolicy
from router.errors import ConfigError
from router.router import Router

SMALL, CODER, LARGE = "llama-3.2-3b", "qwen3-coder-30b", "llama-3.3-70b"
HELLO: Any = [{"role": "user", "content": "Hello"}]
PYTHON: Any = [{"role": "user", "content": "Write Python."}]
TOOLS: Any = [
    {
        "type": "function",
        "function": {"name": "f", "parameters": {"type": "object", "properties": {}}},
    }
]
Ask = Callable[..., Any]


def test_routes_and_says_why(client: OpenAI):
    response = client.chat.completions.create(model="auto", messages=PYTHON)
    assert isinstance(response, RoutedCompletion)
    assert response.model == CODER
    assert response.choices[0].message.content == f"{CODER}: Write Python."
    decision = response.decision
    assert decision is not None
    assert (decision.model, decision.reason) == (CODER, "rule 'code'")
    assert decision.usage is not None
    assert (decision.usage.prompt_tokens, decision.usage.completion_tokens) == (11, 7)
    assert decision.actual_energy_j is not None
    assert decision.actual_energy_j.value_j == pytest.approx(11 * 0.01884 + 7 * 0.2885)
    assert decision.reference == LARGE
    assert decision.saved_j is not None
    assert decision.saved_j > 0
    assert decision.routing_s < 1.0


def test_with_a_learned_router(ask: Ask, small_router: Router, fault_server: Any):
    reply = ask({"router": small_router, "quality": 0.6})
    chosen = small_router.route(HELLO, quality=0.6)
    assert reply.text == f"{chosen.model}: Hello"
    assert reply.decision.decision == chosen
    assert reply.decision.probability == chosen.probability
    assert ask({"router": small_router}, model="auto:1").decision.quality == 1.0


def test_the_record_is_not_part_of_the_answer(client: OpenAI):
    response = client.chat.completions.create(model="auto", messages=HELLO)
    for shown in (response.to_json(), response.model_dump_json(), repr(response)):
        assert "decision" not in shown
    assert "decision" not in response.to_dict()
    copied = response.model_copy()
    assert copied.decision == response.decision


def test_everything_else_goes_through_untouched(ask: Ask, fault_server: Any):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "tool_call_id": "c", "content": "ok"},
    ]
    fields: dict[str, Any] = {
        "messages": messages,
        "tools": TOOLS,
        "tool_choice": "auto",
        "response_format": {"type": "json_object"},
        "n": 2,
        "logprobs": True,
        "top_logprobs": 3,
        "temperature": 0.25,
        "stop": ["x"],
        "seed": 7,
        "user": "u",
        "metadata": {"a": "b"},
    }
    extra = {"repeat_penalty": 1.0, "min_p": 0, "made_up": {"deep": [1, None, "ü"]}}
    ask(**fields, extra_body=extra, extra_headers={"x-mine": "1"}, extra_query={"q": "2"})
    request = fault_server.chats[-1]
    # nobody in this pool reads images: the reference model is the default
    assert request.body == {**fields, **extra, "model": LARGE, "max_tokens": 4096}
    assert request.headers["x-mine"] == "1"
    assert request.path == "/v1/chat/completions?q=2"
    assert request.headers["authorization"] == "Bearer sk-test"


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ({}, 6000),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 6}, 6),
        ({"extra_body": {"max_tokens": 8}}, 8),
    ],
)
def test_max_tokens_is_always_sent(ask: Ask, fault_server: Any, fields: Any, limit: int):
    reply = ask(**fields)
    assert fault_server.chats[-1].body["max_tokens"] == limit
    assert reply.decision.max_tokens == limit


def test_a_real_id_sends_what_openai_sends(ask: Ask, fault_server: Any):
    given: Any = {"model": LARGE, "messages": HELLO, "temperature": 0.5}
    reply = ask(**given)
    assert reply.decision is None
    assert ask(**given, stream=True).text == f"{LARGE}: Hello"
    with openai.OpenAI(base_url=fault_server.url, api_key="sk-test") as plain:
        plain.chat.completions.create(**given)
        plain.chat.completions.create(**given, stream=True).close()
    ours, our_stream, theirs, their_stream = fault_server.chats
    assert ours.content == theirs.content
    assert our_stream.content == their_stream.content
    skipped = {"user-agent", "host", "x-stainless-async", "x-stainless-read-timeout"}
    assert {k: v for k, v in ours.headers.items() if k not in skipped} == {
        k: v for k, v in theirs.headers.items() if k not in skipped
    }


def test_options_of_the_router_are_not_sent_with_a_real_id(client: OpenAI, fault_server: Any):
    client.chat.completions.create(model=LARGE, messages=HELLO, quality=0.9, session="s")
    assert set(fault_server.chats[-1].body) == {"model", "messages"}


def test_other_endpoints_are_untouched(client: OpenAI, fault_server: Any):
    echoed = client.post("/embeddings", cast_to=object, body={"model": "auto", "input": "x"})
    assert echoed == {"path": "/v1/embeddings", "echo": {"model": "auto", "input": "x"}}


@pytest.mark.parametrize(
    ("fields", "quality", "floor"),
    [
        ({}, 0.95, None),
        ({"model": "auto:0.9"}, 0.9, None),
        ({"quality": 0.8, "min_probability": 0.3}, 0.8, 0.3),
        ({"model": "auto:0.9", "quality": 0.8}, 0.9, None),
        ({"extra_body": {"wattroute": {"quality": 0.7}}}, 0.7, None),
        ({"quality": 0.8, "extra_body": {"wattroute": {"min_probability": 0.1}}}, 0.8, 0.1),
    ],
)
def test_the_bar_of_one_call(
    ask: Ask, rules: Any, fault_server: Any, fields: Any, quality: float, floor: Any
):
    asked = Watched(rules)
    reply = ask({"router": asked, "quality": 0.95}, **fields)
    assert asked.asked == [(quality, floor)]
    assert reply.decision.quality == quality
    assert "wattroute" not in fault_server.chats[-1].body
    assert "quality" not in fault_server.chats[-1].body


PROMISES = ("confidence", "group", "uncertified")


def test_what_is_to_be_promised(ask: Ask, rules: Any, fault_server: Any):
    """From the client, changed for one call."""
    asked = Watched(rules)
    mine = {"router": asked, "confidence": 0.8, "group": "maths", "uncertified": "estimate"}
    assert ask(mine).error is None
    assert ask(mine, confidence=0.7, group="law", uncertified="reference").error is None
    assert ask(mine, extra_body={"wattroute": {"group": "code"}}).error is None
    assert ask({"router": asked}).error is None
    assert asked.promised == [
        [0.8, "maths", "estimate"],
        [0.7, "law", "reference"],
        [0.8, "code", "estimate"],
        [None, None, None],
    ]
    assert all("wattroute" not in chat.body for chat in fault_server.chats)


def test_a_copy_promises_what_its_client_does(settings: Any, rules: Any, fault_server: Any):
    asked = Watched(rules)
    given = {**settings, "router": asked, "confidence": 0.8, "group": "maths"}
    with OpenAI(**given) as client:
        other = client.with_options(group="law", uncertified="estimate")
        for each in (client, other, other.with_options(quality=0.5)):
            each.chat.completions.create(model="auto", messages=HELLO)
    assert asked.promised == [[0.8, "maths", None], *[[0.8, "law", "estimate"]] * 2]
    assert [quality for quality, _ in asked.asked] == [0.98, 0.98, 0.5]


def test_the_certificate_is_on_the_answer(ask: Ask, promising_router: Any, fault_server: Any):
    decision = ask({"router": promising_router, "quality": 0.8}, group="maths").decision
    assert decision.certificate.holds
    assert (decision.certificate.group, decision.certificate.n) == ("maths", 70)
    assert decision.to_dict()["certificate"]["reason"] == "certified on 70 prompts of group 'maths'"
    decision = ask({"router": promising_router}, min_probability=0.7).decision
    assert decision.floor_certificate.floor == 0.7
    assert decision.novelty is None


def test_rules_in_a_file(ask: Ask, fault_server: Any, tmp_path: Path):
    file = tmp_path / "rules.toml"
    file.write_text(f'default = "{SMALL}"\n')
    assert ask({"router": file}).decision.model == SMALL
    assert ask({"router": str(file)}).decision.model == SMALL


class Watched:
    """Rules that remember what they were asked."""

    def __init__(self, rules: Any) -> None:
        self.rules = rules
        self.asked: list[tuple[float, float | None]] = []
        self.promised: list[Any] = []
        self.models, self.reference = rules.models, rules.reference

    def route(self, prompt: Any, **options: Any) -> Any:
        self.asked.append((options["quality"], options.get("min_probability")))
        self.promised.append([options.get(name) for name in PROMISES])
        return self.rules.route(prompt, **options)


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "auto:2"},
        {"model": "auto:best"},
        {"quality": 0},
        {"min_probability": 7},
        {"confidence": 1},
        {"uncertified": "maybe"},
        {"group": 5},
        {"extra_body": {"wattroute": {"qualty": 0.9}}},
        {"messages": []},
    ],
)
def test_bad_options_are_errors_before_anything_is_sent(ask: Ask, fault_server: Any, fields: Any):
    assert isinstance(ask(**fields).error, ConfigError)
    assert fault_server.requests == []


def test_streams(client: OpenAI, fault_server: Any):
    fault_server.script(faults.stream(["a", "b", "c"], usage=True))
    stream = client.chat.completions.create(model="auto", messages=HELLO, stream=True)
    assert isinstance(stream, RoutedStream)
    assert stream.decision is not None
    assert (stream.decision.model, stream.decision.usage) == (SMALL, None)
    assert stream.decision.energy_j == stream.decision.expected_energy_j
    with stream:
        texts = [chunk.choices[0].delta.content for chunk in stream if chunk.choices]
    assert texts == ["a", "b", "c", None]
    assert stream.decision.usage is not None
    assert stream.decision.usage.completion_tokens == 7
    assert stream.decision.actual_energy_j is not None
    assert stream.decision.finish_reason == "stop"


def test_a_stream_without_usage_is_counted(ask: Ask, fault_server: Any):
    fault_server.script(faults.stream(["a", "b", "c"]))
    decision = ask(stream=True).decision
    assert decision.usage.estimated
    assert decision.usage.completion_tokens == 3
    assert decision.actual_energy_j.basis == "assumed"


def test_a_stream_that_is_left(client: OpenAI, fault_server: Any):
    fault_server.always(faults.stream(["a"] * 50, delay_s=0.01))
    for leave in (lambda s: s.close(), lambda s: next(s) and s.close()):
        stream = client.chat.completions.create(model="auto", messages=HELLO, stream=True)
        leave(stream)
        assert stream.decision is not None
        assert [a.outcome for a in stream.decision.attempts] == ["cancelled"]
        assert stream.decision.usage is None


def test_a_stream_that_is_left_at_its_last_chunk(client: OpenAI, fault_server: Any):
    stream = client.chat.completions.create(model="auto", messages=HELLO, stream=True)
    for chunk in stream:
        if chunk.choices[0].finish_reason:
            break
    stream.close()
    assert stream.decision is not None
    assert [a.outcome for a in stream.decision.attempts] == ["answered"]
    assert stream.decision.usage is not None


def test_the_client_may_be_used_while_it_sends(settings: Any, fault_server: Any):
    def key() -> str:
        # such as a key from a vault behind the same gateway
        return str(plain.post("/keys", cast_to=object, body={"key": "sk-made"})["echo"]["key"])

    with OpenAI(**settings) as plain, OpenAI(**{**settings, "api_key": key}) as client:
        response = client.chat.completions.create(model="auto", messages=HELLO)
        assert response.decision is not None
    assert fault_server.chats[-1].headers["authorization"] == "Bearer sk-made"


def test_httpx_clients_of_ones_own(settings: Any):
    for http_client in (httpx.Client(), openai.DefaultHttpxClient(verify=False)):
        with OpenAI(**settings, http_client=http_client) as client:
            response = client.chat.completions.create(model="auto", messages=HELLO)
            assert response.decision is not None
            stream = client.chat.completions.create(model="auto", messages=HELLO, stream=True)
            assert len(list(stream)) == 3


def test_chunks_come_as_they_are_sent(client: OpenAI, fault_server: Any):
    fault_server.script(faults.stream(["a", "b"], after=1, how="hang"))
    stream = client.with_options(timeout=0.3).chat.completions.create(
        model="auto", messages=HELLO, stream=True
    )
    assert next(stream).choices[0].delta.content == "a"
    with pytest.raises(BrokenAnswerError):
        next(stream)


def test_raw_responses(client: OpenAI):
    raw = client.chat.completions.with_raw_response.create(model="auto", messages=HELLO)
    record = decision_of(raw)
    assert record is not None
    assert record.usage is not None
    assert raw.decision == record  # type: ignore[attr-defined]
    assert raw.http_request.method == "POST"
    parsed = raw.parse()
    assert parsed.choices[0].message.content == f"{SMALL}: Hello"
    assert decision_of(parsed) == record


def test_raw_streams(client: OpenAI, fault_server: Any):
    raw: Any = client.chat.completions.with_raw_response.create(
        model="auto", messages=HELLO, stream=True
    )
    assert raw.decision.model == SMALL
    stream = raw.parse()
    assert isinstance(stream, RoutedStream)
    assert len(list(stream)) == 3
    assert decision_of(raw) == stream.decision
    assert stream.decision is not None
    assert stream.decision.usage is not None
    fault_server.script(faults.stream(["a", "b"], after=1))
    raw = client.chat.completions.with_raw_response.create(
        model="auto", messages=HELLO, stream=True
    )
    with pytest.raises(BrokenAnswerError):
        list(raw.parse())


def test_streaming_responses(client: OpenAI):
    create = client.chat.completions.with_streaming_response.create
    with create(model="auto", messages=HELLO) as response:
        before = decision_of(response)
        assert before is not None
        assert before.usage is None
        parsed = response.parse()
        after = decision_of(response)
        assert after is not None
        assert after.usage is not None
        assert decision_of(parsed) == after
    with create(model="auto", messages=HELLO) as response:
        assert json.loads(b"".join(response.iter_bytes()))["model"] == SMALL
    with create(model="auto", messages=HELLO, stream=True) as response:
        lines = [line for line in response.iter_lines() if line]
        assert lines[-1] == "data: [DONE]"


class Place(BaseModel):
    name: str


def test_parse_and_the_stream_helper(client: OpenAI, fault_server: Any):
    fault_server.script(faults.answer('{"name": "Ulm"}'))
    parsed = client.chat.completions.parse(model="auto", messages=HELLO, response_format=Place)
    assert parsed.choices[0].message.parsed == Place(name="Ulm")
    record = decision_of(parsed)
    assert record is not None
    assert parsed.decision == record  # type: ignore[attr-defined]
    assert "decision" not in parsed.model_dump_json(warnings=False)
    assert fault_server.chats[-1].body["response_format"]["type"] == "json_schema"
    fault_server.script(faults.answer('{"name": "Ulm"}'))
    with client.chat.completions.stream(
        model="auto", messages=HELLO, response_format=Place
    ) as stream:
        kinds = [event.type for event in stream]
    assert kinds[-1] == "content.done"
    assert stream.get_final_completion().choices[0].message.parsed == Place(name="Ulm")
    record = decision_of(stream)
    assert record is not None
    assert record.usage is not None


def test_an_answer_that_does_not_parse_is_not_asked_for_again(client: OpenAI, fault_server: Any):
    fault_server.script(faults.answer('{"name": 5'))
    with pytest.raises(ValueError, match="Invalid JSON"):
        client.chat.completions.parse(model="auto", messages=HELLO, response_format=Place)
    assert len(fault_server.chats) == 1


def test_copies_keep_the_router(client: OpenAI, fault_server: Any):
    for copied in (
        client.with_options(quality=0.5),
        client.copy(quality=0.5, timeout=3.0, default_headers={"x-a": "b"}),
        client.copy().with_options(quality=0.5).with_options(max_retries=0),
    ):
        assert isinstance(copied, OpenAI)
        assert copied.dispatcher is client.dispatcher
        response = copied.chat.completions.create(model="auto", messages=HELLO)
        assert response.decision is not None
        assert response.decision.quality == 0.5
    response = client.chat.completions.create(model="auto", messages=HELLO)
    assert response.decision is not None
    assert response.decision.quality == 0.98


def test_sessions(client: OpenAI, rules: Any, fault_server: Any):
    store = client.dispatcher.conversations
    first = client.chat.completions.create(model="auto", messages=PYTHON, session="s")
    assert first.decision is not None
    key = first.decision.session_key
    assert key is not None
    assert store.get(key) == CODER
    by_header = client.chat.completions.create(
        model="auto", messages=HELLO, extra_headers={"X-WattRoute-Session": "s"}
    )
    assert by_header.decision is not None
    assert by_header.decision.session_key == key
    assert "x-wattroute-session" not in fault_server.chats[-1].headers
    other = client.chat.completions.create(model="auto", messages=HELLO, session="t")
    assert other.decision is not None
    assert other.decision.session_key != key


def test_the_list_of_models(ask: Ask, settings: Any, fault_server: Any):
    fault_server.models = [LARGE]
    dispatcher = Dispatcher(settings["router"], retry=settings["retry"])
    shared = {"dispatcher": dispatcher, "router": None, "retry": None, "live_models": True}
    reply = ask(shared)
    assert reply.text == f"{LARGE}: Hello"
    assert {e.reason for e in reply.decision.excluded} == {"not in the API's list of models"}
    ask(shared)
    assert [r.path for r in fault_server.requests] == [
        "/v1/models",
        "/v1/chat/completions",
        "/v1/chat/completions",
    ]
    ask({**shared, "api_key": "sk-other"}, model=LARGE)
    assert len(fault_server.requests) == 4, "not for requests that are not routed"
    ask(shared, extra_headers={"Authorization": "Bearer sk-third"})
    assert fault_server.requests[4].path == "/v1/models"
    assert fault_server.requests[4].headers["authorization"] == "Bearer sk-third"


def test_without_a_list_of_models(ask: Ask, fault_server: Any):
    assert fault_server.models is None
    assert ask({"live_models": True}).text == f"{SMALL}: Hello"
    assert [r.path for r in fault_server.requests] == ["/v1/models", "/v1/chat/completions"]


def test_the_key_is_read_at_the_first_request(
    ask: Ask, fault_server: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("OXLO_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-openai")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-of-openai")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://example.org/v1")
    without = {"api_key": None}
    error = ask(without).error
    assert isinstance(error, MissingKeyError)
    assert isinstance(error, openai.OpenAIError)
    assert "OXLO_API_KEY" in str(error)
    assert isinstance(ask(without, model=LARGE).error, MissingKeyError)
    assert fault_server.requests == []
    monkeypatch.setenv("OXLO_API_KEY", "sk-of-oxlo")
    assert ask(without).error is None
    headers = fault_server.chats[-1].headers
    assert headers["authorization"] == "Bearer sk-of-oxlo"
    assert "of-openai" not in str(headers)


def test_a_key_from_a_function(settings: Any, fault_server: Any):
    with OpenAI(**{**settings, "api_key": lambda: "sk-made"}) as client:
        client.chat.completions.create(model="auto", messages=HELLO)

    async def key() -> str:
        return "sk-made"

    async def call() -> None:
        async with AsyncOpenAI(**{**settings, "api_key": key}) as client:
            await client.chat.completions.create(model="auto", messages=HELLO)

    asyncio.run(call())
    assert [r.headers["authorization"] for r in fault_server.chats] == ["Bearer sk-made"] * 2


def test_oxlo_is_the_default(rules: Any):
    with OpenAI(router=rules) as client:
        assert str(client.base_url) == "https://api.oxlo.ai/v1/"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give a router or a default_model"),
        ({"router": "rules", "quality": 3}, "quality is 3"),
        ({"router": "rules", "min_probability": "x"}, "min_probability is 'x'"),
        ({"router": "rules", "plan": "gold"}, "plan 'gold'"),
        ({"router": "rules", "dispatcher": "yes"}, "leave these away"),
    ],
)
@pytest.mark.parametrize("kind", [OpenAI, AsyncOpenAI])
def test_bad_arguments(rules: Any, kind: Any, arguments: Any, message: str):
    if "router" in arguments:
        arguments = {**arguments, "router": rules}
    if "dispatcher" in arguments:
        arguments = {**arguments, "dispatcher": Dispatcher(rules)}
    with pytest.raises(ConfigError, match=message):
        kind(**arguments)


def test_many_threads_share_a_client(client: OpenAI):
    def work(i: int) -> bool:
        text = f"number {i}" + (" in python" if i % 2 else "")
        messages: Any = [{"role": "user", "content": text}]
        model = CODER if i % 2 else SMALL
        if i % 3:
            response = client.chat.completions.create(model="auto", messages=messages)
            found, record = response.choices[0].message.content, response.decision
        else:
            stream = client.chat.completions.create(model="auto", messages=messages, stream=True)
            found = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
            record = stream.decision
        assert isinstance(record, Dispatched)
        return found == f"{model}: {text}" and record.model == model and record.usage is not None

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(120)))


def test_many_tasks_share_a_client(settings: Any):
    async def work(client: AsyncOpenAI, i: int) -> bool:
        text = f"number {i}" + (" in python" if i % 2 else "")
        messages: Any = [{"role": "user", "content": text}]
        model = CODER if i % 2 else SMALL
        if i % 3:
            response = await client.chat.completions.create(model="auto", messages=messages)
            found, record = response.choices[0].message.content, response.decision
        else:
            stream = await client.chat.completions.create(
                model="auto", messages=messages, stream=True
            )
            assert isinstance(stream, AsyncRoutedStream)
            found = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
            record = stream.decision
        assert isinstance(record, Dispatched)
        return found == f"{model}: {text}" and record.model == model and record.usage is not None

    async def all_of_them() -> list[bool]:
        async with AsyncOpenAI(**settings) as client:
            return await asyncio.gather(*(work(client, i) for i in range(120)))

    assert all(asyncio.run(all_of_them()))


def test_a_cancelled_task(settings: Any, fault_server: Any):
    fault_server.script(faults.hang(), model=SMALL)

    async def call() -> str | None:
        async with AsyncOpenAI(**settings) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await client.chat.completions.create(model="auto", messages=HELLO)
            response = await client.chat.completions.create(model="auto", messages=HELLO)
            return response.choices[0].message.content

    assert asyncio.run(call()) == f"{SMALL}: Hello"
    assert len(fault_server.chats) == 2


def test_async_variants(settings: Any, fault_server: Any):
    async def call() -> None:
        async with AsyncOpenAI(**settings) as client:
            chat = client.chat.completions
            raw = await chat.with_raw_response.create(model="auto", messages=HELLO)
            record = decision_of(raw)
            assert record is not None
            assert record.usage is not None
            assert decision_of(raw.parse()) == record
            async with chat.with_streaming_response.create(
                model="auto", messages=HELLO
            ) as response:
                await response.parse()
                record = decision_of(response)
                assert record is not None
                assert record.usage is not None
            fault_server.script(faults.answer('{"name": "Ulm"}'))
            parsed = await chat.parse(model="auto", messages=HELLO, response_format=Place)
            assert parsed.choices[0].message.parsed == Place(name="Ulm")
            assert decision_of(parsed) is not None
            async with chat.stream(model="auto", messages=HELLO) as stream:
                assert [event.type async for event in stream][-1] == "content.done"
            assert decision_of(stream) is not None
            left = await chat.create(model="auto", messages=HELLO, stream=True)
            await left.close()
            assert left.decision is not None
            assert [a.outcome for a in left.decision.attempts] == ["cancelled"]
            copied = client.with_options(quality=0.5)
            answer = await copied.chat.completions.create(model="auto", messages=HELLO)
            assert answer.decision is not None
            assert answer.decision.quality == 0.5

    asyncio.run(call())


def test_one_dispatcher_for_both_clients(settings: Any, rules: Any):
    shared = Dispatcher(rules, retry=RetryPolicy(tries_per_model=1))
    arguments = {k: v for k, v in settings.items() if k not in ("router", "retry")}
    with OpenAI(**arguments, dispatcher=shared) as client:
        assert client.dispatcher is shared
        response = client.chat.completions.create(model="auto", messages=HELLO)
    assert response.decision is not None
    assert len(shared.conversations) == 1  # type: ignore[arg-type]


def test_without_openai_the_extra_is_named():
    code = (
        "import sys\nsys.modules['openai'] = None\n"
        "from router.errors import MissingExtraError\n"
        "try:\n    import router.client\n"
        "except MissingExtraError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'wattroute[client]'" in done.stdout, done.stderr


def test_dispatching_needs_no_http_library():
    code = (
        "import sys\nimport router.dispatch\nimport router.rules\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout.replace("'", '"')))
    assert loaded & {"openai", "httpx", "httpx2", "starlette", "uvicorn", "pydantic"} == set()
