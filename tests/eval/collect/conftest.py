"""Collections from a loopback server that adds numbers, some models better than others."""

from __future__ import annotations

import asyncio
import hashlib
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import fault_server as faults
from router.dispatch.retry import RetryPolicy
from router.dispatch.usage import EnergyRates
from router.eval.collect.chat import ChatClient
from router.eval.collect.collector import Budget, Collector, Limits
from router.eval.collect.estimate import RequestForecast
from router.eval.collect.limits import RateLimiter
from router.eval.collect.progress import Progress
from router.eval.collect.settings import AskSettings
from router.eval.collect.store import AnswerStore
from router.eval.suites import SuitePrompt

QUICK = RetryPolicy(
    tries_per_model=4, base_s=0.001, cap_s=0.01, max_retry_after_s=1.0, max_wait_s=5.0
)
RIGHT = {"gemma-3-4b": 0.5, "llama-3.3-70b": 0.9}


@pytest.fixture
def server() -> Iterator[Any]:
    """Adds the two numbers of a question; each model is right on a share that its text decides."""

    def reply(connection: Any, request: Any) -> None:
        body = request.body
        question = body["messages"][-1]["content"]
        first, second = map(int, re.findall(r"\d+", question)[:2])
        luck = int(hashlib.sha256(question.encode()).hexdigest()[:8], 16) / 2**32
        off = 0 if luck < RIGHT.get(body["model"], 0.7) else 1
        text = f"The answer is {first + second + off}."
        connection.json(200, faults.completion(request, text))

    with faults.FaultServer(default=reply) as running:
        yield running


@pytest.fixture
def prompts() -> tuple[SuitePrompt, ...]:
    return tuple(
        SuitePrompt(
            f"What is {7 * i} + {i + 1}?", f"p{i}", 8 * i + 1, ("add", "sum")[i % 2], "number"
        )
        for i in range(20)
    )


@dataclass
class Bench:
    """A collector with everything around it."""

    folder: Path
    url: str
    options: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    timeout_s: float = 5.0
    shown: io.StringIO = field(default_factory=io.StringIO)

    def settings(self, model: str, **fields: Any) -> AskSettings:
        return AskSettings(model, model, self.url, **fields)

    def collect(
        self,
        prompts: Sequence[SuitePrompt],
        models: Sequence[str] | Mapping[str, AskSettings] = ("gemma-3-4b",),
        first: int | None = None,
        **budget: Any,
    ) -> Collector:
        """Ask all, or the first ones, and return the collector afterwards."""
        if not isinstance(models, Mapping):
            models = {name: self.settings(name) for name in models}
        with AnswerStore(self.folder) as store:
            store.begin(prompts, "test")
            for how in models.values():
                store.use_model(how)
            key = RateLimiter(**self.limits, earlier=store.state.asked_at)
            collector = Collector(
                store,
                ChatClient(self.timeout_s, {}),
                models,
                Limits(dict.fromkeys(models, key), {m: RateLimiter() for m in models}),
                RequestForecast(EnergyRates({}), store.state.answers.values()),
                budget=Budget(**budget),
                retry=QUICK,
                progress=Progress(self.shown),
                **self.options,
            )
            collector.count_spent(prompts)

            async def run() -> None:
                try:
                    await collector.ask_all([(m, p) for p in prompts[:first] for m in models])
                finally:
                    await collector._client.close()  # type: ignore[attr-defined]

            asyncio.run(run())
            return collector

    def stored(self) -> AnswerStore:
        store = AnswerStore(self.folder)
        store.close()
        return store


@pytest.fixture
def bench(tmp_path: Path, server: Any) -> Bench:
    return Bench(tmp_path / "runs", server.url)


@pytest.fixture
def make_bench(tmp_path: Path, server: Any) -> Callable[..., Bench]:
    return lambda **fields: Bench(tmp_path / "runs", server.url, **fields)
