"""The proxy between the openai client and two llama.cpp servers: nothing in it is a stand-in."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai
import pytest

from router import Router

SERVED = ("mistral-24b", "gemma-3-27b")
EASY, HARD = "What is 2 + 2?", "Prove that 91 is not a prime number."
PROMPTS = (EASY, HARD, "Write one word that rhymes with cat.", "Prove that 4 is even.")
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
def client(proxy: Any) -> Iterator[openai.OpenAI]:
    with client_of(proxy) as client:
        yield client


def client_of(proxy: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=proxy.url, api_key="sk-x", max_retries=0, timeout=120)


@pytest.mark.parametrize(("prompt", "model"), [(EASY, SERVED[0]), (HARD, SERVED[1])])
def test_each_prompt_goes_to_its_model(client: openai.OpenAI, prompt: str, model: str):
    raw = client.chat.completions.with_raw_response.create(
        model="auto", messages=[{"role": "user", "content": prompt}], max_tokens=12
    )
    answer = raw.parse()
    assert answer.model == raw.headers["x-wattroute-model"] == model
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert 0 < answer.usage.completion_tokens <= 12
    assert raw.headers["x-wattroute-energy-from"] == "usage"
    assert float(raw.headers["x-wattroute-energy-j"]) > 0


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_bundled_router_chooses_among_what_is_served(learned_proxy: Any, prompt: str):
    with client_of(learned_proxy) as client:
        raw = client.chat.completions.with_raw_response.create(
            model="auto:0.9", messages=[{"role": "user", "content": prompt}], max_tokens=4
        )
    decision = Router.load().route(prompt, quality=0.9, allowed=SERVED)
    assert raw.parse().model == raw.headers["x-wattroute-model"] == decision.model
    assert float(raw.headers["x-wattroute-probability"]) == pytest.approx(
        decision.probability, 1e-4
    )


def test_a_stream_comes_in_pieces_and_ends(proxy: Any, client: openai.OpenAI):
    before = len(proxy.decisions(0))
    stream = client.chat.completions.create(
        model="auto",
        messages=[{"role": "user", "content": "Count from one to ten."}],
        max_tokens=16,
        stream=True,
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text
    assert len(chunks) > 3
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] in ("stop", "length")
    line = proxy.decisions(before + 1)[-1]
    assert line["outcome"] == "answered"
    assert line["usage"]["completion_tokens"] > 1


def test_tools_reach_the_server(client: openai.OpenAI):
    """It is told to call the function, and its grammar makes it do so."""
    answer = client.chat.completions.create(
        model="auto",
        messages=[{"role": "user", "content": "Add 2 and 3."}],
        tools=TOOLS,
        tool_choice={"type": "function", "function": {"name": "add"}},
        max_tokens=40,
    )
    calls = answer.choices[0].message.tool_calls
    assert calls
    call: Any = calls[0]
    assert call.function.name == "add"


def test_calls_at_the_same_time(client: openai.OpenAI):
    answers: list[tuple[str, str]] = []

    def ask(i: int) -> None:
        raw = client.chat.completions.with_raw_response.create(
            model="auto",
            messages=[{"role": "user", "content": PROMPTS[i % len(PROMPTS)]}],
            max_tokens=6,
        )
        answers.append((raw.headers["x-wattroute-model"], raw.parse().model))

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 12
    assert all(header == answered for header, answered in answers)


def test_the_asynchronous_client(proxy: Any):
    async def ask() -> list[str | None]:
        async with openai.AsyncOpenAI(base_url=proxy.url, api_key="sk-x", timeout=120) as client:
            answers = await asyncio.gather(
                *(
                    client.chat.completions.create(
                        model="auto",
                        messages=[{"role": "user", "content": prompt}],
                        max_tokens=4,
                    )
                    for prompt in PROMPTS
                )
            )
        return [answer.choices[0].message.content for answer in answers]

    assert all(asyncio.run(ask()))


def test_a_real_id_goes_to_its_server(client: openai.OpenAI):
    for model in SERVED:
        answer = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Hi"}], max_tokens=4
        )
        assert answer.model == model


def test_models_are_those_of_both_servers(client: openai.OpenAI):
    assert {model.id for model in client.models.list()} == {"auto", *SERVED}


def test_an_error_of_the_server_comes_back_in_openais_shape(client: openai.OpenAI):
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(
            model="auto", messages=[{"role": "user", "content": "word " * 3_000}], max_tokens=4
        )
    assert caught.value.status_code >= 400
    assert isinstance(caught.value.response.json()["error"]["message"], str)


def test_a_dead_server_is_replaced_by_the_other_model(
    first_server: Any, running_proxy: Callable[..., Any], tmp_path: Any
):
    """Nobody listens at the second model's address: the first one answers all."""
    dead = "http://127.0.0.1:9/v1"
    with running_proxy(first_server, dead, tmp_path) as proxy, client_of(proxy) as client:
        for prompt in PROMPTS:
            answer = client.chat.completions.create(
                model="auto",
                messages=[{"role": "user", "content": prompt}],
                max_tokens=4,
            )
            assert answer.model == first_server.alias
        lines = proxy.decisions(len(PROMPTS))
        assert [line["chosen"] for line in lines] == [SERVED[0], SERVED[1]] * 2
        assert all(line["model"] == SERVED[0] for line in lines)


def test_grades_make_runs(proxy: Any, client: openai.OpenAI):
    from router.serve.decision_log import graded_runs

    raw = client.chat.completions.with_raw_response.create(
        model="auto", messages=[{"role": "user", "content": "Say yes."}], max_tokens=4
    )
    request_id = raw.headers["x-wattroute-request-id"]
    proxy.decisions(1)
    sent = {"request_id": request_id, "quality": 0.5}
    assert httpx.post(f"{proxy.url}/feedback", json=sent).status_code == 200
    (run,) = [run for run in graded_runs([proxy.log]) if run["quality"] == 0.5]
    assert run["prompt"] == [{"role": "user", "content": "Say yes."}]
    assert run["completion_tokens"] <= 4
