"""A router whose decisions are given, and a clock that is set by hand."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from random import Random
from typing import Any

import pytest

from router.decision import Candidate, Decision, RoutedModel
from router.dispatch import Dispatcher, Plan
from router.energy import EnergyInterval


class FixedRouter:
    """Ranks its models as they were given; the last one is the reference model."""

    def __init__(self, probability: Mapping[str, float], error: Exception | None = None) -> None:
        self.probability = dict(probability)
        self.error = error
        self.asked: list[Any] = []
        self.promised: list[Any] = []

    @property
    def models(self) -> tuple[RoutedModel, ...]:
        return tuple(RoutedModel(m, m, m == self.reference) for m in self.probability)

    @property
    def reference(self) -> str:
        return list(self.probability)[-1]

    def route(
        self,
        prompt: Any,
        *,
        quality: float = 0.98,
        confidence: float = 0.9,
        min_probability: float | None = None,
        group: str | None = None,
        uncertified: str | None = None,
        allowed: Collection[str] | None = None,
    ) -> Decision:
        self.asked.append((prompt, quality, min_probability, allowed))
        self.promised.append((confidence, group, uncertified))
        if self.error is not None:
            raise self.error
        ranking = [m for m in self.probability if allowed is None or m in allowed]
        candidates = tuple(
            Candidate(
                model=model,
                probability=probability,
                energy_j=EnergyInterval(10.0 * (j + 1), 5.0, 100.0, "estimated"),
                completion_tokens=100.0 * (j + 1),
                chosen=model == ranking[0],
                reason="",
            )
            for j, (model, probability) in enumerate(self.probability.items())
        )
        return Decision(
            model=ranking[0],
            probability=self.probability[ranking[0]],
            energy_j=candidates[0].energy_j,
            quality=quality,
            price=None,
            shrinkage=None,
            prompt_tokens=12.0,
            candidates=candidates,
            ranking=tuple(ranking),
            reason="given",
            reference=self.reference,
        )


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fixed_router() -> Callable[..., FixedRouter]:
    return FixedRouter


@pytest.fixture
def router() -> FixedRouter:
    return FixedRouter({"small": 0.8, "medium": 0.85, "large": 0.9})


@pytest.fixture
def dispatcher(router: FixedRouter, clock: Clock) -> Dispatcher:
    return Dispatcher(router, clock=clock, rng=Random(0))


@pytest.fixture
def chat() -> Callable[..., dict[str, Any]]:
    """Return the body of a chat request."""

    def make(text: str = "Hello", **fields: Any) -> dict[str, Any]:
        return {"model": "auto", "messages": [{"role": "user", "content": text}], **fields}

    return make


@pytest.fixture
def drive() -> Callable[..., list[tuple[str, float]]]:
    """Run a plan with the given failures; None is an answer. Returns models and waits."""

    def run(plan: Plan, *outcomes: Any, clock: Clock | None = None) -> list[tuple[str, float]]:
        sent = []
        for outcome in outcomes:
            step = plan.next()
            if step is None:
                break
            sent.append((step.model, step.wait_s))
            if clock is not None:
                clock.now += step.wait_s
            if outcome is None:
                plan.began()
                plan.finished()
                break
            plan.failed(outcome)
        return sent

    return run
