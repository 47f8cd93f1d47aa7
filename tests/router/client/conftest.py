"""Clients of both kinds against a server that fails on command."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import openai
import pytest

from router.client import AsyncOpenAI, OpenAI
from router.dispatch import Dispatched, RetryPolicy
from router.rules import Rule, TaskRules

SMALL, CODER, LARGE = "llama-3.2-3b", "qwen3-coder-30b", "llama-3.3-70b"
QUICK = RetryPolicy(base_s=0.001, cap_s=0.01)


@pytest.fixture(scope="session")
def rules() -> TaskRules:
    """Ranks small, coder, large; large is the reference model."""
    return TaskRules([Rule("code", CODER, ("python",))], SMALL, reference=LARGE)


@pytest.fixture
def settings(rules: TaskRules, fault_server: Any) -> dict[str, Any]:
    """Arguments of a client; it asks for no list of models, so that each request counts."""
    return {
        "router": rules,
        "retry": QUICK,
        "base_url": fault_server.url,
        "api_key": "sk-test",
        "live_models": False,
        "timeout": 5.0,
    }


@pytest.fixture
def client(settings: dict[str, Any]) -> Iterator[OpenAI]:
    with OpenAI(**settings, http_client=plain_http()) as client:
        yield client


def plain_http() -> openai.DefaultHttpxClient:
    """Return openai's HTTP client without certificates, whose loading takes 50 ms."""
    return openai.DefaultHttpxClient(verify=False)


@dataclass(frozen=True)
class Reply:
    """What came of a call: text or error, with the record."""

    text: str
    error: Exception | None
    decision: Dispatched | None


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest, settings: dict[str, Any]) -> Callable[..., Reply]:
    """Return a call that both clients make alike; ``stream=True`` reads the stream to its end."""

    def call_sync(client_options: dict[str, Any], params: dict[str, Any]) -> Reply:
        text = ""
        with OpenAI(**client_options, http_client=plain_http()) as client:
            try:
                response: Any = client.chat.completions.create(**params)
                if params.get("stream"):
                    for chunk in response:
                        text += "".join(choice.delta.content or "" for choice in chunk.choices)
                else:
                    text = response.choices[0].message.content
            except Exception as error:
                return Reply(text, error, getattr(error, "decision", None))
            return Reply(text, None, response.decision)

    async def call_async(client_options: dict[str, Any], params: dict[str, Any]) -> Reply:
        text = ""
        http_client = openai.DefaultAsyncHttpxClient(verify=False)
        async with AsyncOpenAI(**client_options, http_client=http_client) as client:
            try:
                response: Any = await client.chat.completions.create(**params)
                if params.get("stream"):
                    async for chunk in response:
                        text += "".join(choice.delta.content or "" for choice in chunk.choices)
                else:
                    text = response.choices[0].message.content
            except Exception as error:
                return Reply(text, error, getattr(error, "decision", None))
            return Reply(text, None, response.decision)

    def ask(client_options: dict[str, Any] | None = None, **params: Any) -> Reply:
        options = {**settings, **(client_options or {})}
        given = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}], **params}
        if request.param == "sync":
            return call_sync(options, given)
        return asyncio.run(call_async(options, given))

    return ask
