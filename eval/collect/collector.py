"""Asking many prompts of many models, each answer stored as soon as it is there."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol, TypeAlias

from router.dispatch.failure import Failure
from router.dispatch.retry import RetryPolicy
from router.errors import UpstreamError
from router.eval.collect.answers import Answer, FailedTry
from router.eval.collect.chat import Reply
from router.eval.collect.estimate import RequestForecast, expected_prompt_tokens
from router.eval.collect.limits import DayLimitError, RateLimiter
from router.eval.collect.progress import Progress, duration_text
from router.eval.collect.settings import AskSettings
from router.eval.collect.store import AnswerStore
from router.eval.measured_energy import EnergyMeter
from router.eval.suites import SuitePrompt

__all__ = ["COLLECT_RETRIES", "Asker", "Budget", "Collector", "Limits", "Pair"]

Pair: TypeAlias = tuple[str, SuitePrompt]
"""A model and a prompt that it is to be asked."""

COLLECT_RETRIES = RetryPolicy(tries_per_model=6, base_s=1.0, cap_s=60.0, max_retry_after_s=900.0)
"""How often and after what wait a request is tried again."""

_GIVE_UP_AFTER = 3
_TICK_S = 0.5


class Asker(Protocol):
    """Sends one request."""

    async def ask(self, settings: AskSettings, messages: list[dict[str, Any]]) -> Reply | Failure:
        """Return the answer, or why there is none."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a folder's collection may take in all, over all its runs.

    Attributes
    ----------
    max_requests : int, optional
        Requests, those without an answer included.
    max_energy_j : float, optional
        Joules of all answers, measured or from their tokens and the catalogue.
    """

    max_requests: int | None = None
    max_energy_j: float | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Rate limits of the models.

    Attributes
    ----------
    of_key : mapping of str to RateLimiter
        By model, the limiter of its API key, which other models may share.
    of_model : mapping of str to RateLimiter
        By model, its own.
    """

    of_key: Mapping[str, RateLimiter]
    of_model: Mapping[str, RateLimiter]


class Collector:
    """Asks prompts and stores the answers.

    Parameters
    ----------
    store : AnswerStore
        Where answers go; it knows what is there already.
    client : Asker
        Sends requests.
    settings : mapping of str to AskSettings
        By model.
    limits : Limits
        Rate limits.
    forecast : RequestForecast
        Expects the energy of requests, for the budget.
    budget : Budget
        What it may take.
    retry : RetryPolicy
        How often and after what wait a request is tried again.
    meter : EnergyMeter, optional
        Meters requests; they run one at a time then.
    progress : Progress, optional
        Told how far it is.
    seed : int
        Seed of the waits' random part.

    Attributes
    ----------
    dropped : dict of str to str
        Models that are asked no more, with the reason.
    stopped : str or None
        Why nothing more is asked at all.
    n_asked, n_answered : int
        Requests sent and answers stored by this object.
    unanswered : Counter of (str, str)
        Prompts given up, by model and kind of failure.
    """

    def __init__(
        self,
        store: AnswerStore,
        client: Asker,
        settings: Mapping[str, AskSettings],
        limits: Limits,
        forecast: RequestForecast,
        *,
        budget: Budget | None = None,
        retry: RetryPolicy = COLLECT_RETRIES,
        meter: EnergyMeter | None = None,
        progress: Progress | None = None,
        on_answer: Callable[[SuitePrompt, Answer], None] | None = None,
        seed: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._client = client
        self._settings = settings
        self._limits = limits
        self._forecast = forecast
        self._budget = budget or Budget()
        self._retry = retry
        self._meter = meter
        self._one_at_a_time = None if meter is None else asyncio.Lock()
        self._progress = progress
        self._on_answer = on_answer
        self._rng = Random(seed)
        self._clock = clock
        self._waiting: dict[asyncio.Task[None], str] = {}
        self._given_up: set[tuple[str, str]] = set()
        self._in_flight = 0
        self._in_flight_j = 0.0
        self._spent_j = 0.0
        self._failed_in_a_row: Counter[str] = Counter()
        self._error: UpstreamError | None = None
        self.dropped: dict[str, str] = {}
        self.stopped: str | None = None
        self.n_asked: int = 0
        self.n_answered: int = 0
        self.unanswered: Counter[tuple[str, str]] = Counter()

    def count_spent(self, prompts: Sequence[SuitePrompt]) -> float:
        """Count the energy of the answers that are stored, and return it in joules."""
        by_key = {prompt.key: prompt for prompt in prompts}
        self._spent_j = 0.0
        for answer in self._store.state.answers.values():
            how = self._settings.get(answer.model)
            if how is not None:
                prompt = by_key.get(answer.key)
                expected = 0 if prompt is None else expected_prompt_tokens(prompt, how)
                self._spent_j += self._forecast.spent_j(answer, expected, how)
        return self._spent_j

    @property
    def spent_j(self) -> float:
        """Joules of all stored answers, as the budget counts them."""
        return self._spent_j

    async def ask_all(self, pairs: Sequence[Pair]) -> None:
        """Ask what has no stored answer; return when all are done, given up or stopped.

        Parameters
        ----------
        pairs : sequence of (str, SuitePrompt)
            What to ask, in the order that each model is to be asked.

        Raises
        ------
        UpstreamError
            If the key is refused. Answers that were on their way are stored first.
        """
        queues: defaultdict[str, list[SuitePrompt]] = defaultdict(list)
        for model, prompt in self._affordable(pairs):
            queues[model].append(prompt)
        if self._progress is not None:
            self._progress.begin({model: len(prompts) for model, prompts in queues.items()})
        ticking = asyncio.create_task(self._tick())
        try:
            async with asyncio.TaskGroup() as group:
                for model, prompts in queues.items():
                    waiting = iter(prompts)
                    n_workers = min(self._settings[model].concurrency, len(prompts))
                    for _ in range(n_workers):
                        group.create_task(self._work(model, waiting))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            ticking.cancel()
            self._store.sync()
        if self._error is not None:
            raise self._error

    def _affordable(self, pairs: Sequence[Pair]) -> list[Pair]:
        """Return the first pairs that the budget is expected to last for.

        Models answer at different speeds: without this the quick ones would use the budget up,
        and few prompts had answers of all models.
        """
        left = self._requests_left()
        left_j = self._energy_left_j()
        done = self._store.state.answers.keys() | self._given_up
        wanted = [p for p in pairs if (p[0], p[1].key) not in done and p[0] not in self.dropped]
        kept: list[Pair] = []
        for model, prompt in wanted:
            joules = self._expected_j(model, prompt) if left_j is not None else 0.0
            if left is not None and len(kept) >= left:
                break
            if left_j is not None and joules > left_j:
                break
            kept.append((model, prompt))
            left_j = None if left_j is None else left_j - joules
        if len(kept) < len(wanted) and not kept:
            self._stop(self._used_up())
        return kept

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self._store.sync(due=True)

    async def _work(self, model: str, prompts: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        for prompt in prompts:
            if self.stopped is not None or model in self.dropped:
                return
            try:
                answered = await self._ask(model, prompt, task)
            except asyncio.CancelledError:
                if self.stopped is not None or model in self.dropped:
                    return  # cancelled by _end_waits
                raise
            except DayLimitError as error:
                self._drop_key(model, _day_text(error.wait_s))
                return
            if self._progress is not None and (answered or model not in self.dropped):
                self._progress.finished(model, answered)

    async def _ask(self, model: str, prompt: SuitePrompt, task: asyncio.Task[None]) -> bool:
        """Ask until there is an answer or no more hope for one."""
        for tries in range(1, self._retry.tries_per_model + 1):
            if self.stopped is not None or model in self.dropped:
                return False
            asked_at = await self._turn(model, task)
            if self.stopped is not None or model in self.dropped:
                return False
            expected_j = self._reserve(model, prompt)
            if expected_j is None:
                return False
            try:
                found = await self._request(model, prompt, asked_at, tries)
            finally:
                self._in_flight -= 1
                self._in_flight_j -= expected_j
            self.n_asked += 1
            if isinstance(found, Answer):
                self._take(model, prompt, found)
                return True
            self._store.add(
                FailedTry(
                    model=model,
                    key=prompt.key,
                    prompt_id=prompt.prompt_id,
                    failure=found.kind,
                    message=found.message,
                    asked_at=asked_at,
                    status=found.status,
                )
            )
            if not self._may_try_again(model, found):
                self._give_up(model, prompt, found)
                return False
            if tries == self._retry.tries_per_model:
                self._give_up(model, prompt, found)
            else:
                await self._back_off(model, found, tries, task)
        return False

    async def _turn(self, model: str, task: asyncio.Task[None]) -> float:
        self._waiting[task] = model
        try:
            await self._limits.of_model[model].take()
            return await self._limits.of_key[model].take()
        finally:
            del self._waiting[task]

    async def _back_off(
        self, model: str, failure: Failure, tries: int, task: asyncio.Task[None]
    ) -> None:
        wait_s = failure.retry_after_s
        if wait_s is not None and failure.kind == "quota":
            self._limits.of_key[model].pause(wait_s)
        elif wait_s is not None or failure.kind == "rate_limit":
            # the others that ask this model would be refused as well
            wait_s = self._retry.backoff_s(tries, self._rng) if wait_s is None else wait_s
            self._limits.of_model[model].pause(wait_s)
        else:
            self._waiting[task] = model
            try:
                await asyncio.sleep(self._retry.backoff_s(tries, self._rng))
            finally:
                del self._waiting[task]

    async def _request(
        self, model: str, prompt: SuitePrompt, asked_at: float, tries: int
    ) -> Answer | Failure:
        how = self._settings[model]
        if self._one_at_a_time is None or self._meter is None:
            reply, energy = await self._client.ask(how, prompt.messages), None
        else:
            async with self._one_at_a_time:
                self._meter.begin()
                try:
                    reply = await self._client.ask(how, prompt.messages)
                finally:
                    energy = self._meter.end()
        if isinstance(reply, Failure):
            return reply
        return Answer(
            model=model,
            key=prompt.key,
            prompt_id=prompt.prompt_id,
            text=reply.text,
            finish_reason=reply.finish_reason,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            reasoning_tokens=reply.reasoning_tokens,
            latency_s=round(reply.latency_s, 6),
            asked_at=round(asked_at, 3),
            tries=tries,
            reasoning=reply.reasoning,
            served_model=reply.served_model,
            energy_j=None if energy is None else energy.energy_j,
            energy_basis=None if energy is None else energy.basis,
        )

    def _take(self, model: str, prompt: SuitePrompt, answer: Answer) -> None:
        how = self._settings[model]
        self._store.add(answer)
        self._forecast.learn(answer)
        self._spent_j += self._forecast.spent_j(answer, expected_prompt_tokens(prompt, how), how)
        self._failed_in_a_row[model] = 0
        self.n_answered += 1
        if self._on_answer is not None:
            self._on_answer(prompt, answer)

    def _may_try_again(self, model: str, failure: Failure) -> bool:
        """Return whether to try again; what concerns more than this prompt is acted on."""
        if failure.kind == "auth":
            self._error = failure.upstream_error()
            self._stop(f"the key was refused: {failure.message}")
            return False
        if failure.kind in ("forbidden", "not_found"):
            self._drop(model, f"HTTP {failure.status}: {failure.message}")
            return False
        longest_s = self._retry.max_retry_after_s
        if failure.kind == "quota":
            wait_s = failure.retry_after_s
            if wait_s is not None and wait_s <= longest_s:
                return True
            self._drop_key(model, f"{_day_text(wait_s)}: {failure.message}")
            return False
        if failure.retry_after_s is not None and failure.retry_after_s > longest_s:
            self._drop(model, f"it asks to wait {duration_text(failure.retry_after_s)}")
            return False
        return failure.retryable

    def _give_up(self, model: str, prompt: SuitePrompt, failure: Failure) -> None:
        self._given_up.add((model, prompt.key))
        self.unanswered[model, failure.kind] += 1
        self._failed_in_a_row[model] += 1
        if self._failed_in_a_row[model] >= _GIVE_UP_AFTER and failure.kind != "capability":
            self._drop(
                model,
                f"no answer to {_GIVE_UP_AFTER} prompts in a row, at last {failure.kind}: "
                f"{failure.message}",
            )

    def _reserve(self, model: str, prompt: SuitePrompt) -> float | None:
        """Set a request's share of the budget aside; None, and stop, where none is left."""
        left, left_j = self._requests_left(), self._energy_left_j()
        joules = 0.0 if left_j is None else self._expected_j(model, prompt)
        if (left is not None and left < 1) or (left_j is not None and joules > left_j):
            self._stop(self._used_up())
            return None
        self._in_flight += 1
        self._in_flight_j += joules
        return joules

    def _requests_left(self) -> int | None:
        most = self._budget.max_requests
        return None if most is None else most - self._store.state.n_requests - self._in_flight

    def _energy_left_j(self) -> float | None:
        most = self._budget.max_energy_j
        return None if most is None else most - self._spent_j - self._in_flight_j

    def _expected_j(self, model: str, prompt: SuitePrompt) -> float:
        how = self._settings[model]
        expected = self._forecast.energy_j(how, expected_prompt_tokens(prompt, how))
        return 0.0 if expected is None else expected.value_j

    def _used_up(self) -> str:
        return (
            f"the budget is used up: {self._store.state.n_requests:,} requests, "
            f"{self._spent_j:,.0f} J"
        )

    def _stop(self, reason: str) -> None:
        if self.stopped is None:
            self.stopped = reason
            self._end_waits(set(self._settings))

    def _drop(self, model: str, reason: str) -> None:
        if model not in self.dropped:
            self.dropped[model] = reason
            self._end_waits({model})
            if self._progress is not None:
                self._progress.dropped(model)
                self._progress.say(f"{model} is left out: {reason}")

    def _drop_key(self, model: str, reason: str) -> None:
        """Leave out all models that share the key of one."""
        limiter = self._limits.of_key[model]
        for name in self._settings:
            if self._limits.of_key[name] is limiter:
                self._drop(name, reason)

    def _end_waits(self, models: set[str]) -> None:
        """End what waits to ask these models; what is on its way goes on."""
        for task, model in self._waiting.items():
            if model in models and task is not asyncio.current_task():
                task.cancel()


def _day_text(wait_s: float | None) -> str:
    if wait_s is None:
        return "the requests of the day are used up: run the command again when they are back"
    return f"the requests of the day are used up: run the command again in {duration_text(wait_s)}"
