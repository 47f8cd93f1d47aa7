"""The drop-in client against two llama.cpp servers: nothing in it is a stand-in.

One base URL leads to both servers: a proxy that passes real ids on. The client routes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest

from router import Router
from router.client import AsyncOpenAI, OpenAI, RoutedStream
from router.dispatch import RetryPolicy
from router.rules import Rule, TaskRules

FIRST, SECOND = "mistral-24b", "gemma-3-27b"
RULES = TaskRules([Rule("proof", SECOND, ("prove",))], FIRST)
EASY: Any = [{"role": "user", "content": "What is 2 + 2?"}]
HARD: Any = [{"role": "user", "content": "Prove that 91 is not a prime number."}]
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "add",
            "description": "Add two numbers.",
            "parameters": {
                "type": "object",
                "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
                "required": ["a", "b"],
            },
        },
    }
]


@pytest.fixture(scope="module")
def client(proxy: Any) -> Iterator[OpenAI]:
    with OpenAI(router=RULES, base_url=proxy.url, api_key="sk-x", timeout=120) as client:
        yield client


@pytest.mark.parametrize(("messages", "model"), [(EASY, FIRST), (HARD, SECOND)])
def test_each_prompt_goes_to_its_model(client: OpenAI, messages: Any, model: str):
    answer = client.chat.completions.create(model="auto", messages=messages, max_tokens=12)
    assert answer.model == model
    assert answer.choices[0].message.content
    decision = answer.decision
    assert decision is not None
    assert (decision.model, decision.fallback) == (model, None)
    assert answer.usage is not None
    assert decision.usage is not None
    assert decision.usage.completion_tokens == answer.usage.completion_tokens > 0
    assert decision.actual_energy_j is not None
    assert decision.actual_energy_j.value_j > 0


def test_the_bundled_router_chooses_among_what_is_served(proxy: Any):
    """The API's list says so: what it lacks is out before choosing."""
    router = Router.load()
    with OpenAI(router=router, base_url=proxy.url, api_key="sk-x", timeout=120) as client:
        answer = client.chat.completions.create(model="auto:0.9", messages=EASY, max_tokens=4)
    chosen = router.route(EASY, quality=0.9, allowed=(FIRST, SECOND))
    assert answer.decision is not None
    assert answer.model == answer.decision.model == chosen.model
    served = {model.id for model in router.models} & {FIRST, SECOND}
    out = {exclusion.model for exclusion in answer.decision.excluded}
    assert out == {model.id for model in router.models} - served


def test_a_stream_comes_in_pieces_and_ends(client: OpenAI):
    stream = client.chat.completions.create(model="auto", messages=EASY, max_tokens=16, stream=True)
    assert isinstance(stream, RoutedStream)
    chunks = list(stream)
    assert len(chunks) > 3
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert stream.decision is not None
    assert stream.decision.finish_reason in ("stop", "length")
    assert stream.decision.usage is not None
    assert stream.decision.usage.completion_tokens > 1


def test_tools_reach_the_server(client: OpenAI):
    choice: Any = {"type": "function", "function": {"name": "add"}}
    answer = client.chat.completions.create(
        model="auto", messages=EASY, tools=TOOLS, tool_choice=choice, max_tokens=40
    )
    calls: Any = answer.choices[0].message.tool_calls
    assert calls[0].function.name == "add"


def test_calls_at_the_same_time(client: OpenAI):
    def ask(messages: Any) -> tuple[str, str | None]:
        answer = client.chat.completions.create(model="auto", messages=messages, max_tokens=6)
        assert answer.decision is not None
        return answer.model, answer.decision.model

    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(ask, [EASY, HARD] * 6))
    assert found == [(FIRST, FIRST), (SECOND, SECOND)] * 6


def test_the_asynchronous_client(proxy: Any):
    async def ask() -> list[Any]:
        async with AsyncOpenAI(
            router=RULES, base_url=proxy.url, api_key="sk-x", timeout=120
        ) as client:
            create = client.chat.completions.create
            whole = [create(model="auto", messages=m, max_tokens=6) for m in (EASY, HARD)]
            stream = await create(model="auto", messages=HARD, max_tokens=6, stream=True)
            models = {chunk.model async for chunk in stream}
            return [*(answer.model for answer in await asyncio.gather(*whole)), *models]

    assert asyncio.run(ask()) == [FIRST, SECOND, SECOND]


def test_a_prompt_that_is_too_long_for_the_server(client: OpenAI):
    long: Any = [{"role": "user", "content": "word " * 3_000}]
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model="auto", messages=long, max_tokens=4)
    assert caught.value.status_code >= 400
    assert caught.value.decision is not None  # type: ignore[attr-defined]


def test_a_dead_server_is_replaced_by_the_other_model(
    first_server: Any, running_proxy: Any, tmp_path: Any
):
    dead, once = "http://127.0.0.1:9/v1", RetryPolicy(tries_per_model=1)
    with (
        running_proxy(first_server, dead, tmp_path) as proxy,
        OpenAI(router=RULES, base_url=proxy.url, api_key="sk-x", retry=once) as client,
    ):
        answer = client.chat.completions.create(model="auto", messages=HARD, max_tokens=4)
    assert answer.decision is not None
    assert [attempt.model for attempt in answer.decision.attempts] == [SECOND, FIRST]
    assert answer.model == FIRST
    assert answer.decision.fallback is not None
